/* Activation functions. */
#ifndef SLUICE_CUDA_ACTIVATION_CUH
#define SLUICE_CUDA_ACTIVATION_CUH

enum { SILU, GELU_TANH, GELU, RELU }; /* enum activation */

__device__ __forceinline__ float activation_of(int activation, float x)
{
    switch (activation) {
    case SILU:
        return x / (1.0f + expf(-x));
    case GELU_TANH: {
        const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
        return 0.5f * x * (1.0f + tanhf(inner));
    }
    case GELU:
        return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
    default:
        return fmaxf(x, 0.0f);
    }
}

#endif
