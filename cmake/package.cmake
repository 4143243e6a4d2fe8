# package.cmake: cpack -G DEB packs what is installed for the Debian that it runs on.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "The ballot authors <ballot@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS openmpi-bin) # mpirun; the rest are shared libraries
set(CPACK_DEBIAN_PACKAGE_SUGGESTS # to link libballot.a
  "libopenmpi-dev, libhdf5-dev, libopenblas-dev, libjansson-dev, libxxhash-dev, libpcre2-dev, libutf8proc-dev, libinih-dev")
include(CPack)
