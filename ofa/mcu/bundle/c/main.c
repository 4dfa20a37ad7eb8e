/* The network on the machine that compiled it: the classes of an image, or a check of what it computes.
 *
 *   ./net IMAGE             scores of every class, the best one last; IMAGE is PGM (P5), PPM (P6), or raw bytes
 *   ./net --check IN OUT    every input of IN gives the output of OUT
 *   ./net --run IN OUT      writes OUT
 *   ./net --random NUMBER   NUMBER random inputs, for sanitizers */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

static int fail(const char *file, const char *what) {
    fprintf(stderr, "%s: %s\n", file, what);
    return 2;
}

#if OFA_NET_HAS_PIXELS

#include "classes.h"

/* the next number of a PNM header, comments skipped; -1 if there is none */
static long header_number(FILE *stream) {
    int c = fgetc(stream);
    long number = -1;
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#') {
        if (c == '#') {
            while (c != '\n' && c != EOF) {
                c = fgetc(stream);
            }
        }
        c = fgetc(stream);
    }
    for (; c >= '0' && c <= '9' && number < 100000; c = fgetc(stream)) {
        number = (number < 0 ? 0 : number) * 10 + (c - '0');
    }
    return number;
}

/* fills `pixels`; returns what is wrong, or null */
static const char *read_pixels(FILE *stream, uint8_t *pixels) {
    static char told[160];
    int first = fgetc(stream), second = fgetc(stream);
    if (first == 'P' && (second == '5' || second == '6')) {
        long width = header_number(stream), height = header_number(stream), most = header_number(stream);
        int channels = second == '5' ? 1 : 3;
        if (width != OFA_NET_WIDTH || height != OFA_NET_HEIGHT || channels != OFA_NET_CHANNELS || most != 255) {
            snprintf(told, sizeof told, "is %ld x %ld pixels of %d channels up to %ld, not %d x %d of %d up to 255", width,
                height, channels, most, OFA_NET_WIDTH, OFA_NET_HEIGHT, OFA_NET_CHANNELS);
            return told;
        }
    } else {
        rewind(stream);
    }
    if (fread(pixels, 1, OFA_NET_INPUT_BYTES, stream) != OFA_NET_INPUT_BYTES || fgetc(stream) != EOF) {
        snprintf(told, sizeof told, "neither a PGM or PPM image nor %d raw bytes", OFA_NET_INPUT_BYTES);
        return told;
    }
    return 0;
}

static int classify(const char *file) {
    static uint8_t pixels[OFA_NET_INPUT_BYTES];
    FILE *stream = fopen(file, "rb");
    if (!stream) {
        return fail(file, "cannot be read");
    }
    const char *wrong = read_pixels(stream, pixels);
    fclose(stream);
    if (wrong) {
        return fail(file, wrong);
    }
    ofa_net_set_pixels(pixels);
    ofa_net_run();
    int best = 0;
    for (int i = 0; i < OFA_NET_OUTPUT_BYTES; i++) {
        best = OFA_NET_OUTPUT[i] > OFA_NET_OUTPUT[best] ? i : best;
        printf("%3d %-20s %9.4f\n", i, ofa_class_names[i], OFA_NET_OUTPUT_SCALE * (OFA_NET_OUTPUT[i] - OFA_NET_OUTPUT_ZERO));
    }
    printf("%s: %d %s\n", file, best, ofa_class_names[best]);
    return 0;
}

#endif

static int run_file(const char *from, const char *to, int check) {
    static int8_t expected[OFA_NET_OUTPUT_BYTES];
    FILE *inputs = fopen(from, "rb"), *outputs = fopen(to, check ? "rb" : "wb");
    long images = 0, wrong = 0;
    if (!inputs || !outputs) {
        return fail(inputs ? to : from, "cannot be opened");
    }
    while (fread(OFA_NET_INPUT, 1, OFA_NET_INPUT_BYTES, inputs) == OFA_NET_INPUT_BYTES) {
        ofa_net_run();
        images++;
        if (!check) {
            if (fwrite(OFA_NET_OUTPUT, 1, OFA_NET_OUTPUT_BYTES, outputs) != OFA_NET_OUTPUT_BYTES) {
                return fail(to, "cannot be written");
            }
        } else if (fread(expected, 1, OFA_NET_OUTPUT_BYTES, outputs) != OFA_NET_OUTPUT_BYTES ||
                   memcmp(expected, OFA_NET_OUTPUT, OFA_NET_OUTPUT_BYTES)) {
            wrong++;
            fprintf(stderr, "image %ld of %s gives another output than %s has\n", images, from, to);
        }
    }
    fclose(inputs);
    if (fclose(outputs)) {
        return fail(to, "cannot be written");
    }
    if (check) {
        printf("%ld images, %ld wrong\n", images, wrong);
    }
    return wrong || !images;
}

static int run_random(long number) {
    uint32_t state = 1, sum = 0;
    for (long image = 0; image < number; image++) {
        for (int i = 0; i < OFA_NET_INPUT_BYTES; i++) {
            state = state * 1664525u + 1013904223u;
            uint32_t high = state >> 24;
            /* every eighth image holds extremes only */
            OFA_NET_INPUT[i] = (int8_t)(image % 8 ? (int)high - 128 : high & 1 ? 127 : -128);
        }
        ofa_net_run();
        for (int i = 0; i < OFA_NET_OUTPUT_BYTES; i++) {
            sum = sum * 31 + (uint8_t)OFA_NET_OUTPUT[i];
        }
    }
    printf("%ld random images, %08x\n", number, (unsigned)sum);
    return 0;
}

int main(int count, char **words) {
    if (count == 4 && !strcmp(words[1], "--check")) {
        return run_file(words[2], words[3], 1);
    }
    if (count == 4 && !strcmp(words[1], "--run")) {
        return run_file(words[2], words[3], 0);
    }
    if (count == 3 && !strcmp(words[1], "--random")) {
        return run_random(strtol(words[2], 0, 10));
    }
#if OFA_NET_HAS_PIXELS
    if (count == 2 && words[1][0] != '-') {
        return classify(words[1]);
    }
    fprintf(stderr, "usage: %s IMAGE | --check IN OUT | --run IN OUT | --random NUMBER\n", words[0]);
#else
    fprintf(stderr, "usage: %s --check IN OUT | --run IN OUT | --random NUMBER\n", words[0]);
#endif
    return 2;
}
