# manual.cmake: the man page and the bash completion, made from what the program says about itself.
find_package(Python3 COMPONENTS Interpreter)
if(NOT Python3_FOUND OR BAL_SANITIZE)
  message(STATUS "no man page and no completion are made here")
  return()
endif()
set(manual ${PROJECT_BINARY_DIR}/ballot.1)
set(completion ${PROJECT_BINARY_DIR}/ballot.bash)
add_custom_command(OUTPUT ${manual} ${completion}
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/manual.py $<TARGET_FILE:ballot>
          ${manual} ${completion}
  DEPENDS ballot cmake/manual.py
  COMMENT "Asking the program for its man page" VERBATIM)
add_custom_target(manual ALL DEPENDS ${manual} ${completion})
install(FILES ${manual} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME ballot)
