// cuBLAS's products of matrices, which lie by columns. Half precision is summed in single precision.
#include <cstddef>
#include <vector>

#include "counts.h"
#include "graphs.h"

enum Type { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2 };  // CUDA's numbers for them
static const int EXECUTION_FAILED = 13, NOT_SUPPORTED = 15;

struct Handle {
    void *stream = nullptr;
    bool has_workspace = false;
};

// c = alpha a b + beta c, of shape (m, n), with a or b transposed where asked for.
struct Product {
    int a_transposed, b_transposed, m, n, k, lda, ldb, ldc;

    template <class T, class Sum>
    void of(const T *a, const T *b, T *c, Sum alpha, Sum beta) const {
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
            for (int i = 0; i < m; i++)
                out[i] = (T)(alpha * column[i] + (beta == 0 ? 0 : beta * (Sum)out[i]));
        }
    }

    void of_type(int type, const void *a, const void *b, void *c, double alpha, double beta) const {
        switch (type) {
            case FLOAT32: return of<float, float>((float *)a, (float *)b, (float *)c, alpha, beta);
            case FLOAT64: return of<double, double>((double *)a, (double *)b, (double *)c, alpha, beta);
            case FLOAT16: return of<_Float16, float>((_Float16 *)a, (_Float16 *)b, (_Float16 *)c, alpha, beta);
        }
    }
};

static size_t bytes(int type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2; }
static double factor(int type, const void *x) { return type == FLOAT64 ? *(const double *)x : *(const float *)x; }

// Done at once, or with the graph of a stream that is being captured: then memory of one's own must be at hand.
static int multiply(const Handle *handle, const Work &product) {
    if (is_implicit(handle->stream)) return EXECUTION_FAILED;
    if (captured(handle->stream, product)) return handle->has_workspace ? 0 : EXECUTION_FAILED;
    count("products");
    product();
    return 0;
}

API int cublasGemmStridedBatchedEx(const Handle *handle, int ta, int tb, int m, int n, int k, const void *alpha,
                                   const void *a, int type, int lda, long long next_a, const void *b, int, int ldb,
                                   long long next_b, const void *beta, void *c, int, int ldc, long long next_c,
                                   int batch, int, int) {
    if (type != FLOAT32 && type != FLOAT64 && type != FLOAT16) return NOT_SUPPORTED;
    Product product{ta, tb, m, n, k, lda, ldb, ldc};
    double times = factor(type, alpha), kept = factor(type, beta);
    long long size = bytes(type);
    return multiply(handle, [=] {
        for (int i = 0; i < batch; i++)
            product.of_type(type, (const char *)a + i * next_a * size, (const char *)b + i * next_b * size,
                            (char *)c + i * next_c * size, times, kept);
    });
}

API int cublasGemmEx(const Handle *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                     int type, int lda, const void *b, int, int ldb, const void *beta, void *c, int, int ldc, int, int) {
    return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, type, lda, 0, b, type, ldb, 0, beta, c, type,
                                      ldc, 0, 1, 0, 0);
}

template <class T>
static int of_each(const Handle *handle, Product product, const T *alpha, const T **a, const T **b, const T *beta,
                   T **c, int batch) {
    if (captured(handle->stream, [] {})) return EXECUTION_FAILED;  // the lists of arrays would be gone
    return multiply(handle, [=] {
        for (int i = 0; i < batch; i++) product.of<T, T>(a[i], b[i], c[i], *alpha, *beta);
    });
}

API int cublasSgemmBatched(const Handle *handle, int ta, int tb, int m, int n, int k, const float *alpha, const float **a, int lda,
                           const float **b, int ldb, const float *beta, float **c, int ldc, int batch) {
    return of_each(handle, Product{ta, tb, m, n, k, lda, ldb, ldc}, alpha, a, b, beta, c, batch);
}

API int cublasDgemmBatched(const Handle *handle, int ta, int tb, int m, int n, int k, const double *alpha, const double **a, int lda,
                           const double **b, int ldb, const double *beta, double **c, int ldc, int batch) {
    return of_each(handle, Product{ta, tb, m, n, k, lda, ldb, ldc}, alpha, a, b, beta, c, batch);
}

API int cublasCreate_v2(Handle **handle) {
    *handle = new Handle;
    return 0;
}

API int cublasDestroy_v2(Handle *handle) {
    delete handle;
    return 0;
}

API int cublasSetStream_v2(Handle *handle, void *stream) {
    *handle = {stream};  // cuBLAS forgets the memory that it was given
    return 0;
}

API int cublasSetWorkspace_v2(Handle *handle, void *, size_t size) {
    handle->has_workspace = size > 0;
    return 0;
}

API int cublasGetVersion_v2(void *, int *version) {
    *version = 130000;
    return 0;
}

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
