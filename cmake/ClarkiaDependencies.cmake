# Finds what Clarkia stands on and gathers it in the target clarkia_dependencies. A package is looked for under
# <NAME>_DIR or <NAME>_ROOT (CMake or environment variable, name in capitals) and nowhere else if one is given; else by
# pkg-config, then by header and library.
# Everything that is missing is reported at once, with the name of its Debian and Spack package.
find_package(PkgConfig QUIET)
find_package(MPI QUIET COMPONENTS C)
include(CheckSourceCompiles)

set(CK_MISSING "") # lines of the report
add_library(clarkia_dependencies INTERFACE)

macro(ck_report name minimum debian spack found)
  set(CK_MISSING "${CK_MISSING}\n  ${name} >= ${minimum}: ${found}\n      Debian: ${debian}    Spack: ${spack}")
endmacro()

# ck_prefix_hints(<name>): sets CK_PREFIX to the prefix the user gave, if any, and lets pkg-config look there first.
macro(ck_prefix_hints name)
  set(CK_PREFIX "")
  foreach(candidate "${${name}_DIR}" "${${name}_ROOT}" "$ENV{${name}_DIR}" "$ENV{${name}_ROOT}")
    if(candidate AND NOT CK_PREFIX)
      set(CK_PREFIX "${candidate}")
    endif()
  endforeach()
  if(CK_PREFIX AND DEFINED ENV{${name}_ARCH} AND IS_DIRECTORY "${CK_PREFIX}/$ENV{${name}_ARCH}")
    set(CK_PREFIX "${CK_PREFIX}/$ENV{${name}_ARCH}")
  endif()
  set(CK_USE_PC ${PKG_CONFIG_FOUND})
  set(CK_PATHS "")
  if(CK_PREFIX) # then nowhere else
    set(CK_USE_PC FALSE)
    set(CK_PATHS ${CK_PREFIX} NO_DEFAULT_PATH)
    foreach(folder share lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE} lib)
      file(GLOB modules "${CK_PREFIX}/${folder}/pkgconfig/*.pc")
      if(modules AND PKG_CONFIG_FOUND)
        set(CK_USE_PC TRUE)
        set(ENV{PKG_CONFIG_PATH} "${CK_PREFIX}/${folder}/pkgconfig:$ENV{PKG_CONFIG_PATH}")
      endif()
    endforeach()
  endif()
endmacro()

# ck_depend(<package> MINIMUM v [BELOW v] DEBIAN p SPACK s [PC modules..]
#           [HEADER h [LIBRARY l..] [VERSION_HEADER h PATTERN macros..]] [BARE])
# PC are alternatives, best first; HEADER and LIBRARY serve where no .pc file does. BARE takes only the named library,
# not what its .pc file drags in.
function(ck_depend package)
  string(TOUPPER ${package} name)
  cmake_parse_arguments(D "BARE" "MINIMUM;BELOW;DEBIAN;SPACK;HEADER;VERSION_HEADER" "PC;LIBRARY;PATTERN" ${ARGN})
  ck_prefix_hints(${name})
  set(found FALSE)
  set(version "")
  if(CK_USE_PC AND D_PC)
    pkg_search_module(CK_${name} QUIET ${D_PC})
    if(CK_${name}_FOUND)
      set(found TRUE)
      set(version "${CK_${name}_VERSION}")
      set(includes ${CK_${name}_INCLUDE_DIRS})
      set(libraries ${CK_${name}_LINK_LIBRARIES})
    endif()
  endif()
  if(D_HEADER AND (D_BARE OR NOT found))
    find_path(CK_${name}_HEADER ${D_HEADER} PATHS ${CK_PATHS} PATH_SUFFIXES include)
    set(includes ${CK_${name}_HEADER})
    set(libraries "")
    set(found FALSE)
    if(CK_${name}_HEADER)
      set(found TRUE)
    endif()
    if(D_LIBRARY)
      find_library(CK_${name}_LIBRARY NAMES ${D_LIBRARY} PATHS ${CK_PATHS} PATH_SUFFIXES lib lib64
        lib/${CMAKE_LIBRARY_ARCHITECTURE})
      set(libraries ${CK_${name}_LIBRARY})
      if(NOT CK_${name}_LIBRARY)
        set(found FALSE)
      endif()
    endif()
  endif()
  if(found AND NOT version AND D_VERSION_HEADER)
    file(STRINGS "${CK_${name}_HEADER}/${D_VERSION_HEADER}" lines)
    foreach(pattern ${D_PATTERN})
      string(REGEX MATCH "#define ${pattern} +([0-9]+)" match "${lines}")
      string(APPEND version ".${CMAKE_MATCH_1}")
    endforeach()
    string(SUBSTRING "${version}" 1 -1 version)
  endif()
  if(NOT found AND CK_PREFIX)
    ck_report("${package}" "${D_MINIMUM}" "${D_DEBIAN}" "${D_SPACK}" "not found under ${CK_PREFIX}")
  elseif(NOT found)
    ck_report("${package}" "${D_MINIMUM}" "${D_DEBIAN}" "${D_SPACK}" "not found; -D${name}_ROOT=/prefix says where it is")
  elseif(version AND version VERSION_LESS D_MINIMUM)
    ck_report("${package}" "${D_MINIMUM}" "${D_DEBIAN}" "${D_SPACK}" "${version} is too old")
  elseif(D_BELOW AND version AND NOT version VERSION_LESS D_BELOW)
    ck_report("${package}" "${D_MINIMUM}, < ${D_BELOW}" "${D_DEBIAN}" "${D_SPACK}" "${version} is too new")
  else()
    list(REMOVE_ITEM includes ${CMAKE_C_IMPLICIT_INCLUDE_DIRECTORIES})
    target_include_directories(clarkia_dependencies SYSTEM INTERFACE ${includes})
    target_link_libraries(clarkia_dependencies INTERFACE ${libraries})
    message(STATUS "${package} ${version}: ${libraries}")
  endif()
  set(CK_MISSING "${CK_MISSING}" PARENT_SCOPE)
endfunction()

if(NOT PKG_CONFIG_FOUND)
  ck_report(pkg-config 1.0 pkgconf pkgconf "not found")
endif()
if(MPI_C_FOUND)
  message(STATUS "MPI ${MPI_C_VERSION}: ${MPI_C_COMPILER}")
else()
  ck_report(MPI 3.1 "libopenmpi-dev openmpi-bin" openmpi@4.1: "no working C compiler wrapper; set MPI_C_COMPILER")
endif()
# OpenBLAS comes first: whatever libblas.so.3 is on the machine, every dgemm of the program then is OpenBLAS's.
ck_depend(OpenBLAS PC openblas flexiblas mkl-dynamic-lp64-seq MINIMUM 0.3.10 DEBIAN libopenblas-dev
  SPACK "openblas@0.3.10:")
if(CLARKIA_64BIT) # of the two builds that Debian has side by side
  ck_depend(PETSc PC petsc64 PETSc64 petsc PETSc MINIMUM 3.18 DEBIAN libpetsc64-real-dev
    SPACK "petsc@3.18: +mpi+hdf5+double~complex+int64")
  ck_depend(SLEPc PC slepc64 SLEPc64 slepc SLEPc MINIMUM 3.18 DEBIAN libslepc64-real-dev SPACK "slepc@3.18:")
else()
  ck_depend(PETSc PC petsc PETSc MINIMUM 3.18 DEBIAN libpetsc-real-dev SPACK "petsc@3.18: +mpi+hdf5+double~complex")
  ck_depend(SLEPc PC slepc SLEPc MINIMUM 3.18 DEBIAN libslepc-real-dev SPACK "slepc@3.18:")
endif()
ck_depend(HDF5 PC hdf5-openmpi hdf5-mpich hdf5 MINIMUM 1.10 DEBIAN libhdf5-openmpi-dev SPACK "hdf5@1.10: +mpi"
  HEADER hdf5.h LIBRARY hdf5)
ck_depend(ELPA PC elpa elpa-2022.11.001 elpa-2023.11.001 MINIMUM 2022.11 DEBIAN libelpa-dev SPACK "elpa@2022.11: ~openmp"
  HEADER elpa/elpa.h LIBRARY elpa)
ck_depend(ScaLAPACK PC scalapack-openmpi scalapack-mpich scalapack MINIMUM 2.2 DEBIAN libscalapack-openmpi-dev
  SPACK "netlib-scalapack@2.2:")
# Its .pc file would bring the serial HDF5 next to the parallel one.
ck_depend(matio BARE PC matio HEADER matio.h LIBRARY matio MINIMUM 1.5 DEBIAN libmatio-dev SPACK "matio@1.5:")
ck_depend(FFTW PC fftw3 HEADER fftw3.h LIBRARY fftw3 MINIMUM 3.3 DEBIAN libfftw3-dev SPACK "fftw@3.3:")
ck_depend(YAML PC yaml-0.1 HEADER yaml.h LIBRARY yaml MINIMUM 0.2 DEBIAN libyaml-dev SPACK "libyaml@0.2:")
ck_depend(zlib PC zlib HEADER zlib.h LIBRARY z MINIMUM 1.2 DEBIAN zlib1g-dev SPACK "zlib@1.2:")
# Its CMake package would ask for OpenCL. Version 3 removed the operation descriptors.
ck_depend(oneDNN HEADER oneapi/dnnl/dnnl.h LIBRARY dnnl VERSION_HEADER oneapi/dnnl/dnnl_version.h
  PATTERN DNNL_VERSION_MAJOR DNNL_VERSION_MINOR DNNL_VERSION_PATCH MINIMUM 2.6 BELOW 3.0 DEBIAN libdnnl-dev
  SPACK "onednn@2.6:2 cpu_runtime=omp")
ck_depend(Random123 HEADER Random123/philox.h MINIMUM 1.09 DEBIAN librandom123-dev SPACK "random123@1.09:")
ck_depend(protobuf_c PC libprotobuf-c HEADER protobuf-c/protobuf-c.h LIBRARY protobuf-c MINIMUM 1.3.3
  DEBIAN libprotobuf-c-dev SPACK "protobuf-c@1.3.3:")
# The reader of ONNX files is generated from their description (ClarkiaOnnx.cmake).
ck_prefix_hints(PROTOBUF_C)
find_program(PROTOC_C protoc-c HINTS ${CK_PREFIX}/bin DOC "protoc-c, the compiler of protobuf-c")
if(NOT PROTOC_C)
  ck_report("protoc-c" 1.3.3 protobuf-c-compiler "protobuf-c@1.3.3:" "not found; -DPROTOC_C=/path/protoc-c says where it is")
endif()
ck_prefix_hints(ONNX)
find_file(ONNX_PROTO onnx.proto HINTS ${CK_PREFIX} PATH_SUFFIXES include/onnx onnx DOC "onnx.proto of ONNX")
if(ONNX_PROTO)
  message(STATUS "ONNX: ${ONNX_PROTO}")
else()
  ck_report("onnx.proto" "(ONNX) 1.8" libonnx-dev "onnx@1.8:" "not found; -DONNX_PROTO=/path/onnx.proto says where it is")
endif()

if(CLARKIA_TESTS AND PKG_CONFIG_FOUND)
  pkg_check_modules(CMOCKA QUIET IMPORTED_TARGET cmocka)
  if(NOT CMOCKA_FOUND)
    ck_report("cmocka (tests only; -DCLARKIA_TESTS=OFF does without)" 1.1 libcmocka-dev "cmocka@1.1:" "not found")
  endif()
endif()

if(CK_MISSING)
  message(FATAL_ERROR "Clarkia needs what is not here:${CK_MISSING}\n\n"
    "On Debian 12, `bash jobs/setup.sh` installs all of it; with Spack, `spack env activate jobs && spack install` (see "
    "jobs/README.md). All requirements stand in docs/requirements.md.\n")
endif()
target_include_directories(clarkia_dependencies SYSTEM INTERFACE ${MPI_C_INCLUDE_DIRS})
target_link_libraries(clarkia_dependencies INTERFACE ${MPI_C_LIBRARIES} m)

# Do the headers and libraries found belong together? One program that needs them all says so.
get_target_property(CMAKE_REQUIRED_INCLUDES clarkia_dependencies INTERFACE_INCLUDE_DIRECTORIES)
get_target_property(CMAKE_REQUIRED_LIBRARIES clarkia_dependencies INTERFACE_LINK_LIBRARIES)
set(CMAKE_REQUIRED_QUIET ON)
check_source_compiles(C "
#include <slepceps.h>
#include <hdf5.h>
#include <oneapi/dnnl/dnnl.h>
#include <matio.h>
#include <fftw3.h>
#include <zlib.h>
#include <yaml.h>
#if !defined(H5_HAVE_PARALLEL)
#error Clarkia needs HDF5 built with MPI
#endif
#if defined(PETSC_USE_COMPLEX) || !defined(PETSC_USE_REAL_DOUBLE)
#error Clarkia needs PETSc built for real numbers in double precision
#endif
void pdsyev_(void);
void dsyrk_(void);
int elpa_init(int);
int main(int argc, char **argv)
{
  pdsyev_();
  dsyrk_();
  return SlepcInitialize(&argc, &argv, 0, 0) || elpa_init(20171201) || H5open() < 0 ||
         H5Pset_fapl_mpio(0, PETSC_COMM_WORLD, MPI_INFO_NULL) < 0 || !dnnl_version() || !zlibVersion() ||
         !yaml_get_version_string() || !fftw_alloc_real(8) || Mat_Close(0);
}" CLARKIA_LIBRARIES_FIT)
check_source_compiles(C "
#include <petscsys.h>
#if !defined(PETSC_USE_64BIT_INDICES)
#error 32-bit indices
#endif
int main(void)
{
  return 0;
}" CLARKIA_INDICES_ARE_64BIT)
unset(CMAKE_REQUIRED_INCLUDES)
unset(CMAKE_REQUIRED_LIBRARIES)
unset(CMAKE_REQUIRED_QUIET)
if(NOT CLARKIA_LIBRARIES_FIT)
  unset(CLARKIA_LIBRARIES_FIT CACHE)
  message(FATAL_ERROR "The libraries above do not work together in one program: another MPI, a serial HDF5 or a complex "
    "PETSc among them is the usual reason. The compiler's words stand in ${CMAKE_BINARY_DIR}/CMakeFiles/CMakeError.log.\n")
endif()
if(CLARKIA_64BIT AND NOT CLARKIA_INDICES_ARE_64BIT)
  unset(CLARKIA_INDICES_ARE_64BIT CACHE)
  message(FATAL_ERROR "-DCLARKIA_64BIT=ON, but the PETSc above has 32-bit indices. Debian: libpetsc64-real-dev and "
    "libslepc64-real-dev; Spack: petsc +int64; elsewhere -DPETSC_DIR and -DSLEPC_DIR name another build. A build folder "
    "keeps the libraries it was first made with: take a new one.\n")
endif()
