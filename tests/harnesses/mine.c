/* The maths: a function takes arrays, and makes its results. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int axes;
    long shape[8], size;
    double *data;
} array;

static double *made[64]; /* in this call: whoever made it frees them */
static int count;

static array like(array a, const double *data) { /* of the shape of another, with these numbers if there are any */
    made[count++] = a.data = calloc(a.size + 1, sizeof *a.data);
    if (data) memcpy(a.data, data, a.size * sizeof *a.data);
    return a;
}

static double log_sum_exp(array x) {
    double most = -INFINITY, sum = 0;
    for (long i = 0; i < x.size; i++) most = fmax(most, x.data[i]);
    for (long i = 0; i < x.size; i++) sum += exp(x.data[i] - most);
    return most + log(sum);
}

static void softmax(array *in, array *out) {
    array x = in[0], s = out[0] = like(x, NULL);
    double most = -INFINITY, sum = 0;
    for (long i = 0; i < x.size; i++) most = fmax(most, x.data[i]);
    for (long i = 0; i < x.size; i++) sum += s.data[i] = exp(x.data[i] - most);
    for (long i = 0; i < x.size; i++) s.data[i] /= sum;
}

static void softmax_vjp(array *in, array *out) {
    array delta = in[0];
    double inner = 0;
    softmax(in + 1, out);
    for (long i = 0; i < delta.size; i++) inner += out[0].data[i] * delta.data[i];
    for (long i = 0; i < delta.size; i++) out[0].data[i] *= delta.data[i] - inner;
}

static void softmax_cross_entropy(array *in, array *out) {
    array x = in[0], y = in[1];
    double log_sum = log_sum_exp(x);
    out[0] = like((array){.size = 1}, NULL);
    for (long i = 0; i < x.size; i++)
        if (y.data[i] != 0) out[0].data[0] += y.data[i] * (log_sum - x.data[i]);
}

static void softmax_cross_entropy_vjp(array *in, array *out) {
    array x = in[1], y = in[2];
    double d = in[0].data[0], log_sum = log_sum_exp(x), total = 0;
    out[0] = like(x, NULL), out[1] = like(y, NULL);
    for (long i = 0; i < y.size; i++) total += y.data[i];
    for (long i = 0; i < x.size; i++) {
        out[0].data[i] = d * (exp(x.data[i] - log_sum) * total - y.data[i]);
        out[1].data[i] = d * (log_sum - x.data[i]);
    }
}

static void affine(array *in, array *out) {
    array W = in[0], x = in[1], u = out[0] = like(in[2], in[2].data);
    for (long i = 0; i < u.size; i++)
        for (long j = 0; j < x.size; j++) u.data[i] += W.data[i * x.size + j] * x.data[j];
}

static void affine_vjp(array *in, array *out) {
    array delta = in[0], W = in[1], x = in[2];
    array dW = out[0] = like(W, NULL), dx = out[1] = like(x, NULL);
    out[2] = like(in[3], delta.data);
    for (long i = 0; i < delta.size; i++)
        for (long j = 0; j < x.size; j++) {
            dW.data[i * x.size + j] = delta.data[i] * x.data[j];
            dx.data[j] += delta.data[i] * W.data[i * x.size + j];
        }
}

static void tanh_(array *in, array *out) {
    out[0] = like(in[0], NULL);
    for (long i = 0; i < in[0].size; i++) out[0].data[i] = tanh(in[0].data[i]);
}

static void tanh_vjp(array *in, array *out) {
    out[0] = like(in[1], in[0].data);
    for (long i = 0; i < in[1].size; i++) out[0].data[i] /= cosh(in[1].data[i]) * cosh(in[1].data[i]);
}

static void network(array *in, array *out) { /* W1, b1, W2, b2, x, y */
    array z1, h, z2;
    affine((array[]){in[0], in[4], in[1]}, &z1);
    tanh_(&z1, &h);
    affine((array[]){in[2], h, in[3]}, &z2);
    softmax_cross_entropy((array[]){z2, in[5]}, out);
}

static void network_vjp(array *in, array *out) { /* delta, W1, b1, W2, b2, x, y */
    array z1, h, z2, dz1, last[2], second[3], first[3];
    affine((array[]){in[1], in[5], in[2]}, &z1);
    tanh_(&z1, &h);
    affine((array[]){in[3], h, in[4]}, &z2);
    softmax_cross_entropy_vjp((array[]){in[0], z2, in[6]}, last);
    affine_vjp((array[]){last[0], in[3], h, in[4]}, second);
    tanh_vjp((array[]){second[1], z1}, &dz1);
    affine_vjp((array[]){dz1, in[1], in[5], in[2]}, first);
    memcpy(out, (array[]){first[0], first[2], second[0], second[2], first[1], last[1]}, 6 * sizeof *out);
}

static const struct {
    const char *name, *axes; /* of the arguments, delta first; tanh takes any */
    void (*call)(array *in, array *out);
    int results;
} FUNCTIONS[] = {
    {"softmax", "1", softmax, 1},
    {"softmax_vjp", "11", softmax_vjp, 1},
    {"softmax_cross_entropy", "11", softmax_cross_entropy, 1},
    {"softmax_cross_entropy_vjp", "011", softmax_cross_entropy_vjp, 2},
    {"affine", "211", affine, 1},
    {"affine_vjp", "1211", affine_vjp, 3},
    {"tanh", "", tanh_, 1},
    {"tanh_vjp", "", tanh_vjp, 1},
    {"two_layer_network_tanh", "212111", network, 1},
    {"two_layer_network_tanh_vjp", "0212111", network_vjp, 6},
};
