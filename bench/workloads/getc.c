/* SPDX-License-Identifier: MIT
 *
 * getc CHARACTERS FILE: reads the file by getc, again and again. In a program without threads glibc takes no lock.
 */
#include "workload.h"

int main(int argc, char **argv)
{
    must(argc > 2, "no file");
    FILE *file = fopen(argv[2], "r");
    must(file != NULL, argv[2]);
    unsigned sum = 0;
    for (uint64_t left = number(argc, argv, 1, 1000); left; left--) {
        int character = getc(file);
        if (character == EOF)
            rewind(file);
        sum += (unsigned)character;
    }
    fclose(file);
    printf("%u\n", sum);
}
