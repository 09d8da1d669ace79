// cuBLAS's products of matrices, which lie by columns. Half precision is summed in single precision.
#include <cstddef>
#include <vector>

#include "counts.h"

enum Type { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2 };  // CUDA's numbers for them
static const int NOT_SUPPORTED = 15;

// c = alpha a b + beta c, of shape (m, n), with a or b transposed where asked for.
struct Product {
    int a_transposed, b_transposed, m, n, k, lda, ldb, ldc;

    template <class T, class Sum>
    void of(const T *a, const T *b, T *c, const void *alpha, const void *beta) const {
        std::vector<Sum> column(m);
        for (int j = 0; j < n; j++) {
            column.assign(m, 0);
            for (int l = 0; l < k; l++) {
                Sum factor = b_transposed ? b[j + (size_t)l * ldb] : b[l + (size_t)j * ldb];
                const T *first = a_transposed ? a + l : a + (size_t)l * lda;
                size_t step = a_transposed ? lda : 1;
                for (int i = 0; i < m; i++) column[i] += (Sum)first[i * step] * factor;
            }
            T *out = c + (size_t)j * ldc;
            Sum kept = *(const Sum *)beta;
            for (int i = 0; i < m; i++)
                out[i] = (T)(*(const Sum *)alpha * column[i] + (kept == 0 ? 0 : kept * (Sum)out[i]));
        }
    }

    int of_type(int type, const void *a, const void *b, void *c, const void *alpha, const void *beta) const {
        switch (type) {
            case FLOAT32: of<float, float>((float *)a, (float *)b, (float *)c, alpha, beta); return 0;
            case FLOAT64: of<double, double>((double *)a, (double *)b, (double *)c, alpha, beta); return 0;
            case FLOAT16: of<_Float16, float>((_Float16 *)a, (_Float16 *)b, (_Float16 *)c, alpha, beta); return 0;
        }
        return NOT_SUPPORTED;
    }
};

static void counted() { count("products"); }
static size_t bytes(int type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2; }

API int cublasGemmEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int type, int lda,
                     const void *b, int, int ldb, const void *beta, void *c, int, int ldc, int, int) {
    counted();
    return Product{ta, tb, m, n, k, lda, ldb, ldc}.of_type(type, a, b, c, alpha, beta);
}

API int cublasGemmStridedBatchedEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                                   int type, int lda, long long next_a, const void *b, int, int ldb, long long next_b,
                                   const void *beta, void *c, int, int ldc, long long next_c, int batch, int, int) {
    counted();
    Product product{ta, tb, m, n, k, lda, ldb, ldc};
    long long size = bytes(type);
    int status = 0;
    for (int i = 0; i < batch && !status; i++)
        status = product.of_type(type, (const char *)a + i * next_a * size, (const char *)b + i * next_b * size,
                                 (char *)c + i * next_c * size, alpha, beta);
    return status;
}

template <class T>
static int of_each(const Product &product, const T *alpha, const T **a, const T **b, const T *beta, T **c, int batch) {
    counted();
    for (int i = 0; i < batch; i++) product.of<T, T>(a[i], b[i], c[i], alpha, beta);
    return 0;
}

API int cublasSgemmBatched(void *, int ta, int tb, int m, int n, int k, const float *alpha, const float **a, int lda,
                           const float **b, int ldb, const float *beta, float **c, int ldc, int batch) {
    return of_each(Product{ta, tb, m, n, k, lda, ldb, ldc}, alpha, a, b, beta, c, batch);
}

API int cublasDgemmBatched(void *, int ta, int tb, int m, int n, int k, const double *alpha, const double **a, int lda,
                           const double **b, int ldb, const double *beta, double **c, int ldc, int batch) {
    return of_each(Product{ta, tb, m, n, k, lda, ldb, ldc}, alpha, a, b, beta, c, batch);
}

API int cublasCreate_v2(void **handle) {
    *handle = new char;
    return 0;
}

API int cublasDestroy_v2(void *handle) {
    delete (char *)handle;
    return 0;
}

API int cublasGetVersion_v2(void *, int *version) {
    *version = 130000;
    return 0;
}

API int cublasSetStream_v2(void *, void *) { return 0; }
API int cublasSetMathMode(void *, int) { return 0; }
API int cublasSetPointerMode_v2(void *, int) { return 0; }

API int cublasGetMathMode(void *, int *mode) {
    *mode = 0;
    return 0;
}

API int cublasGetPointerMode_v2(void *, int *mode) {
    *mode = 0;
    return 0;
}
