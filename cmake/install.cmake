# install.cmake: what is installed: the program, and the rooms below it as one library, which other
# programs find with pkg-config (ballot) or find_package(ballot). Nothing names where it lies, so an
# installed tree may be moved.
include(CMakePackageConfigHelpers)

add_library(bal_library STATIC)
add_library(ballot::ballot ALIAS bal_library)
foreach(room IN LISTS BAL_ROOMS)
  if(NOT room STREQUAL cli)
    target_sources(bal_library PRIVATE $<TARGET_OBJECTS:bal_${room}>)
  endif()
endforeach()
list(TRANSFORM BAL_PACKAGES PREPEND PkgConfig:: OUTPUT_VARIABLE packages)
target_link_libraries(bal_library INTERFACE $<BUILD_INTERFACE:bal_flags> ${packages} MPI::MPI_C m)
target_include_directories(bal_library INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(bal_library PROPERTIES OUTPUT_NAME ballot EXPORT_NAME ballot LINKER_LANGUAGE C
                      ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

install(TARGETS ballot RUNTIME)
install(FILES LICENSE TYPE DOC RENAME copyright)
install(TARGETS bal_library EXPORT ballot ARCHIVE)
install(DIRECTORY include/ballot ${PROJECT_BINARY_DIR}/include/ballot TYPE INCLUDE
        FILES_MATCHING PATTERN "*.h" PATTERN "*.def")

set(config ${CMAKE_INSTALL_LIBDIR}/cmake/ballot)
configure_file(cmake/ballot-config.cmake.in ballot-config.cmake @ONLY)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ballot-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ballot-config.cmake
              ${PROJECT_BINARY_DIR}/ballot-config-version.cmake DESTINATION ${config})
install(EXPORT ballot NAMESPACE ballot:: FILE ballot-targets.cmake DESTINATION ${config})

file(RELATIVE_PATH BAL_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
list(JOIN BAL_PACKAGES " " BAL_REQUIRES)
configure_file(cmake/ballot.pc.in ballot.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ballot.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
