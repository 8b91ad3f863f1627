# torch::cpu: LibTorch of the PyPI wheel torch 2.11 as an imported target of our own.
#
# Not find_package(Torch): the wheel's own package file demands the whole CUDA toolkit. Linked are torch_cpu and c10
# only; where a CUDA driver is present the engine loads libtorch_cuda.so at start (inference/engine.cpp).
# Looked for in: -DNODE_TORCH=<folder `torch` of an installed wheel>, build/torch (made by tools/setup), python3.
set(torch_root "${NODE_TORCH}")
if(NOT torch_root)
  file(GLOB torch_root LIST_DIRECTORIES true "${PROJECT_SOURCE_DIR}/build/torch/lib/python3*/site-packages/torch")
endif()
if(NOT torch_root)
  # find_spec() names the folder without importing the package.
  execute_process(COMMAND python3 -c "import importlib.util as u, os; s = u.find_spec('torch'); print(os.path.dirname(s.origin) if s else '')"
                  OUTPUT_VARIABLE torch_root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
set(torch_help "Run tools/setup, which installs the wheel torch 2.11.0 in build/torch, or say -DNODE_TORCH=<folder `torch` of "
               "an installed wheel>, or -DNODE_INFERENCE=OFF to build without it.")
string(CONCAT torch_help ${torch_help})
if(NOT torch_root)
  message(FATAL_ERROR "LibTorch: no wheel found. ${torch_help}")
endif()
if(NOT EXISTS "${torch_root}/version.py" OR NOT EXISTS "${torch_root}/include/ATen/core/Tensor.h"
   OR NOT EXISTS "${torch_root}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch: ${torch_root} is not the folder of an installed wheel. ${torch_help}")
endif()
file(STRINGS "${torch_root}/version.py" torch_version REGEX "^__version__")
if(NOT torch_version MATCHES "'2\\.11\\.")
  message(FATAL_ERROR "LibTorch: ${torch_root} holds ${torch_version}, wanted is 2.11. ${torch_help}")
endif()
message(STATUS "LibTorch: ${torch_root} (${torch_version})")

add_library(torch::c10 SHARED IMPORTED GLOBAL)
set_target_properties(torch::c10 PROPERTIES IMPORTED_LOCATION "${torch_root}/lib/libc10.so")
add_library(torch::gomp SHARED IMPORTED GLOBAL)  # The wheel's own, so that a process has one pool of threads.
set_target_properties(torch::gomp PROPERTIES IMPORTED_LOCATION "${torch_root}/lib/libgomp.so.1")
add_library(torch::cpu SHARED IMPORTED GLOBAL)
set_target_properties(torch::cpu PROPERTIES
  IMPORTED_LOCATION "${torch_root}/lib/libtorch_cpu.so"
  INTERFACE_INCLUDE_DIRECTORIES "${torch_root}/include"  # Of an imported target, so -isystem.
  INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=1;AT_PER_OPERATOR_HEADERS"  # As the wheel is built; only the operators named.
  INTERFACE_COMPILE_OPTIONS -fopenmp  # Without it at::parallel_for(), a template, is one thread's loop.
  INTERFACE_LINK_LIBRARIES "torch::c10;torch::gomp")
