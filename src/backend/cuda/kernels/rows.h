/* Kernels on each row alone: rows.cu. */
#ifndef SLUICE_CUDA_ROWS_H
#define SLUICE_CUDA_ROWS_H

#endif
