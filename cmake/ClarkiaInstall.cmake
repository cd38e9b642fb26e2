# cmake --install <build> --prefix <prefix>
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(TARGET clarkia)
  # Libraries in unusual places (a Spack view, a module) are found at run time as they were at link time.
  set_target_properties(clarkia PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS clarkia RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET clarkia_library)
  set_target_properties(clarkia_library PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS clarkia_library clarkia_dependencies EXPORT ClarkiaTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/include/clarkia DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT ClarkiaTargets NAMESPACE Clarkia:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Clarkia)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/ClarkiaConfig.cmake
    "include(\"\${CMAKE_CURRENT_LIST_DIR}/ClarkiaTargets.cmake\")\n")
  write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/ClarkiaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ClarkiaConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/ClarkiaConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Clarkia)

  # Our headers include those of PETSc, HDF5 and MPI, so a program that uses them calls these libraries itself.
  get_target_property(includes clarkia_dependencies INTERFACE_INCLUDE_DIRECTORIES)
  list(REMOVE_DUPLICATES includes)
  list(TRANSFORM includes PREPEND -I OUTPUT_VARIABLE CK_PC_CFLAGS)
  list(JOIN CK_PC_CFLAGS " " CK_PC_CFLAGS)
  get_target_property(libraries clarkia_dependencies INTERFACE_LINK_LIBRARIES)
  set(CK_PC_LIBRARIES "")
  foreach(library ${libraries})
    if(IS_ABSOLUTE ${library})
      list(APPEND CK_PC_LIBRARIES ${library})
    else()
      list(APPEND CK_PC_LIBRARIES -l${library})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES CK_PC_LIBRARIES)
  list(JOIN CK_PC_LIBRARIES " " CK_PC_LIBRARIES)
  file(RELATIVE_PATH CK_PC_UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  configure_file(${CMAKE_CURRENT_SOURCE_DIR}/cmake/clarkia.pc.in ${CMAKE_CURRENT_BINARY_DIR}/clarkia.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/clarkia.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
