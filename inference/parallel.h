// at::parallel_for() over LibTorch's threads: a template, which without OpenMP compiles as one thread's loop and says
// nothing. So whoever calls it includes this in place of LibTorch's header.
#pragma once

#include <ATen/Parallel.h>

#ifndef INTRA_OP_PARALLEL
#error "at::parallel_for() is one thread's loop here: compile with -fopenmp, as inference/torch.cmake says"
#endif
