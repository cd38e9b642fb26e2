"""watch.py on the journal of a real run and on made-up ones. Usage: <this> <analysis folder> <clarkia>"""
import json
import os
import subprocess
import sys
import unittest

from scripts import ScriptTest
import watch

CLARKIA = sys.argv.pop(1)


def entry(epoch, **change):
    line = dict(epoch=epoch, step=10 * epoch, loss=1 / epoch, error=0.5, test_loss=None, test_error=None, rate=0.1, seconds=2,
                left=100, at="2026-01-01T00:00:00Z")
    line.update(change)
    return json.dumps(line) + "\n"


class Watch(ScriptTest):
    script = "watch.py"

    def run_script(self, *arguments, text=None):
        return super().run_script(*arguments, input=text, timeout=50, env=dict(os.environ, PYTHONIOENCODING="utf-8"))

    def test_a_real_run(self):
        journal = self.path("run.jsonl")
        command = [CLARKIA, "train", "-data", "synthetic", "-data_count", "60", "-data_shape", "1,4,4", "-net", "mlp", "-net_widths",
                   "3", "-dynamics_batch", "20", "-dynamics_epochs", "3", "-output", self.path("net.h5"), "-train_journal", journal]
        subprocess.run(command, check=True, capture_output=True)
        with open(journal, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(lines[0]["epochs"], 3)
        self.assertEqual(lines[0]["output"], self.path("net.h5"))
        self.assertEqual(lines[-1]["epoch"], 3)
        result = self.run_script(journal)  # comes back: the run is done
        self.assertEqual(result.returncode, 0, result.stderr)
        for word in ("epoch 3/3", "100%", "finished", "training loss", "test error"):
            self.assertIn(word, result.stdout)
        refused = subprocess.run(command[:-1] + [self.path("missing/run.jsonl")], check=False, capture_output=True, text=True)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("-train_journal", refused.stderr)

    def test_lines_in_pieces_and_runs_that_go_on(self):
        journal = watch.Journal()
        head = json.dumps(dict(program="clarkia 0", net="mlp", epochs=4, output="a.h5")) + "\n"
        text = head + entry(1) + entry(2) + entry(3)
        for i in range(0, len(text), 7):
            journal.feed(text[i:i + 7])
        self.assertEqual([line["epoch"] for line in journal.epochs], [1, 2, 3])
        journal.feed(head + entry(3, loss=7.0)[:20])
        self.assertEqual(len(journal.epochs), 3)
        journal.feed(entry(3, loss=7.0)[20:] + entry(4))
        self.assertEqual([line["loss"] for line in journal.epochs], [1, 0.5, 7, 0.25])
        self.assertTrue(journal.done())

    def test_view(self):
        self.assertEqual(watch.curve([1, 2, None, 8], 10), "▁▂█")
        self.assertEqual(len(watch.curve(range(1000), 40)), 40)
        self.assertEqual(watch.duration(7325), "2 h 02 min")
        head = json.dumps(dict(program="clarkia 0", net="mlp", epochs=4, output="a.h5")) + "\n"
        result = self.run_script("-", "--once", text=head + entry(1) + entry(2, error=0.25))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("50%", result.stdout)
        self.assertIn("25.00%", result.stdout)
        self.assertNotIn("test loss", result.stdout)
        self.assertIn("no epoch", self.run_script("-", "--once", text=head).stdout)

    def test_bad_files(self):
        for name, text, word in (("absent.jsonl", None, "No such file"), ("bad.jsonl", "epoch 3\n", "no line of a journal"),
                                 ("list.jsonl", "[1]\n", "no line of a journal")):
            if text:
                with open(self.path(name), "w", encoding="utf-8") as file:
                    file.write(text)
            result = self.run_script(self.path(name), "--once")
            self.assertEqual(result.returncode, 1)
            self.assertTrue(result.stderr.startswith("watch: error: "), result.stderr)
            self.assertIn(word, result.stderr)


if __name__ == "__main__":
    unittest.main()
