"""What the tests of scripts in analysis/ share. Their first argument is that folder; the scripts in it can be imported after this
module. A test class names its script and has a folder of its own for every test."""
import os
import subprocess
import sys
import tempfile
import unittest

FOLDER = sys.argv.pop(1)
sys.path.insert(0, FOLDER)


class ScriptTest(unittest.TestCase):
    script = None  # "plot_tail.py"

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run_script(self, *arguments, **how):
        return subprocess.run([sys.executable, os.path.join(FOLDER, self.script), *arguments], capture_output=True, text=True,
                              check=False, **how)

    def assert_drawn(self, *arguments):
        """A picture and nothing on stderr, in both kinds of format."""
        for name in ("out.png", "out.pdf"):
            result = self.run_script(*arguments, "--output", self.path(name))
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertGreater(os.path.getsize(self.path(name)), 5000)
            os.remove(self.path(name))

    def assert_refused(self, words, *arguments):
        """A message that has the words, in order, and no picture."""
        result = self.run_script(*arguments, "--output", self.path("none.png"))
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.startswith(self.script[:-3] + ": error: "), result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        self.assertIn(words, result.stderr)
        self.assertFalse(os.path.exists(self.path("none.png")))
