# The third-party libraries, each as one target that the room allowed to include it links: cowvet::fmt everywhere,
# cowvet::codecs in format/, cowvet::uring in storage/, cowvet::xml in analyzer/, cowvet::crypto in engine/, rapidcheck in
# model/, nlohmann_json in reports/, CLI11 in cli/.
find_package(fmt REQUIRED)
find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(rapidcheck REQUIRED)

# Debian ships fmt as a shared library only. A static program compiles it once, from its headers: including it
# header-only everywhere would cost seconds in each file.
add_library(cowvet_fmt INTERFACE)
if(COWVET_STATIC AND fmt_VERSION VERSION_GREATER_EQUAL 9 AND fmt_VERSION VERSION_LESS 10)
  add_library(cowvet_fmt_static STATIC ${PROJECT_SOURCE_DIR}/cmake/fmt_static.cpp)
  target_compile_options(cowvet_fmt_static PRIVATE -w)
  target_link_libraries(cowvet_fmt INTERFACE cowvet_fmt_static)
elseif(COWVET_STATIC)
  target_link_libraries(cowvet_fmt INTERFACE fmt::fmt-header-only)
else()
  target_link_libraries(cowvet_fmt INTERFACE fmt::fmt)
endif()
add_library(cowvet::fmt ALIAS cowvet_fmt)

find_library(DEFLATE_LIBRARY deflate REQUIRED)
find_library(ZLIB_LIBRARY z REQUIRED)
find_library(ZSTD_LIBRARY zstd REQUIRED)
add_library(cowvet_codecs INTERFACE)
target_link_libraries(cowvet_codecs INTERFACE ${DEFLATE_LIBRARY} ${ZLIB_LIBRARY} ${ZSTD_LIBRARY})
add_library(cowvet::codecs ALIAS cowvet_codecs)

find_library(PUGIXML_LIBRARY pugixml REQUIRED)
add_library(cowvet_xml INTERFACE)
target_link_libraries(cowvet_xml INTERFACE ${PUGIXML_LIBRARY})
add_library(cowvet::xml ALIAS cowvet_xml)

find_library(CRYPTO_LIBRARY crypto REQUIRED)
add_library(cowvet_crypto INTERFACE)
target_link_libraries(cowvet_crypto INTERFACE ${CRYPTO_LIBRARY} ${CMAKE_DL_LIBS})
add_library(cowvet::crypto ALIAS cowvet_crypto)

# Optional: without liburing, storage/ uses threads. COWVET_HAVE_URING says which.
find_library(URING_LIBRARY uring)
find_path(URING_HEADER liburing.h)
add_library(cowvet_uring INTERFACE)
if(URING_LIBRARY AND URING_HEADER)
  target_link_libraries(cowvet_uring INTERFACE ${URING_LIBRARY})
  target_compile_definitions(cowvet_uring INTERFACE COWVET_HAVE_URING=1)
else()
  target_compile_definitions(cowvet_uring INTERFACE COWVET_HAVE_URING=0)
endif()
add_library(cowvet::uring ALIAS cowvet_uring)
