/* Checks a softmax in C against the frozen vectors, with nothing but the standard library.
 *
 *     cc -std=c99 -O2 softmax_check.c -lm -o softmax_check && ./softmax_check softmax.json
 *
 * No JSON parser: the files have one layout (sorted keys, no blanks; what must be exact also stands in hexadecimal, which
 * strtod reads to the bit), so looking for keys in their order is enough. Exit code 0: every case agrees; 1: one does
 * not; 2: the file can't be read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

/* x - c exactly, as a sum of two doubles: what rounding takes from a large logit would be lost in its exp. */
static double exp_of_difference(double x, double c) {
    double d = x - c, t = d - x;
    double rest = (x - (d - t)) - (c + t);
    return isfinite(d) ? exp(d) * (1 + rest) : exp(d);
}

static void softmax(const double *x, size_t n, double *s) {
    double c = x[0], sum = 0;
    for (size_t i = 1; i < n; i++) c = x[i] > c ? x[i] : c;
    for (size_t i = 0; i < n; i++) sum += s[i] = exp_of_difference(x[i], c);
    for (size_t i = 0; i < n; i++) s[i] /= sum;
}

/* What follows the next `"key":` after *at, before `end` if that is given. */
static const char *find(const char **at, const char *key, const char *end) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *found = strstr(*at, quoted);
    if (!found || (end && found >= end)) return NULL;
    return *at = found + strlen(quoted);
}

/* How many numbers a text such as "0x1.8p+1 -inf" or [3.0,1e-05] has; -1 if it is not one of numbers. */
static long numbers(const char *text, double *a) {
    long n = 0;
    if (!text || (*text != '"' && *text != '[')) return -1;
    char closing = *text++ == '[' ? ']' : '"';
    while (*text != closing && n < MOST) {
        char *end;
        a[n++] = strtod(text, &end);
        if (end == text) return -1;
        text = end + (*end == ' ' || *end == ',');
    }
    return n;
}

static int agrees(double got, double expected, double condition, double allowed) {
    return got == expected || (isnan(got) && isnan(expected)) || fabs(got - expected) / condition <= allowed;
}

static char *contents(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 4000001);
    size_t read = text ? fread(text, 1, 4000000, file) : 0;
    fclose(file);
    return read ? text : NULL;
}

int main(int argc, char **argv) {
    static double x[MOST], s[MOST], expected[MOST], condition[MOST];
    const char *at = argc > 1 ? contents(argv[1]) : NULL;
    if (!at || !strstr(at, "\"schema\":\"backprop-vectors-3\"")) return fputs("no vectors\n", stderr), 2;
    const char *tests = at;
    long promised = find(&tests, "numberOfTests", NULL) ? strtol(tests, NULL, 10) : -1, run = 0, wrong = 0;
    const char *groups = at, *group = find(&groups, "batch", NULL);
    while (group) {
        const char *ahead = group, *next = find(&ahead, "batch", NULL), *dtype = find(&group, "dtype", next);
        int is_single = dtype && strncmp(dtype, "\"float32\"", 9) == 0;
        double eps = find(&group, "eps", next) ? strtod(group, NULL) : -1;
        long n = find(&group, "n", next) ? strtol(group, NULL, 10) : 0; /* of a row; a batch has several */
        for (at = group; find(&at, "inputsHex", next);) {
            long all = numbers(find(&at, "x", next), x);
            const char *id = find(&at, "tcId", next), *value = find(&at, "value", next);
            long sizes = value ? numbers(find(&at, "condition", next), condition) : -1;
            long known = value ? numbers(find(&at, "hex", next), expected) : -1;
            double tolerance = value && find(&at, "tolerance", next) ? strtod(at, NULL) : -1;
            if (n < 1 || all < 0 || all % n || known != all || sizes != all || eps <= 0 || tolerance < 0)
                return fputs("not the layout\n", stderr), 2;
            for (long row = 0; row < all; row += n) softmax(x + row, n, s + row);
            int good = 1;
            for (long i = 0; i < all; i++)
                good &= agrees(is_single ? (float)s[i] : s[i], expected[i], condition[i], tolerance * eps);
            if (!good) printf("tcId %ld: wrong\n", strtol(id, NULL, 10));
            wrong += !good, run++;
        }
        group = next;
    }
    if (run != promised || !run) return fprintf(stderr, "%ld cases run of %ld\n", run, promised), 2;
    printf("%ld cases, %ld wrong\n", run, wrong);
    return wrong ? 1 : 0;
}
