/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzzer's entry over the files of a directory, without a fuzzer: what it once found stays mended.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    static uint8_t input[1 << 20];
    DIR *corpus = argc == 2 ? opendir(argv[1]) : NULL;
    unsigned inputs = 0;
    if (!corpus)
        return fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]), 2;
    for (struct dirent *entry; (entry = readdir(corpus));) {
        int fd = openat(dirfd(corpus), entry->d_name, O_RDONLY | O_CLOEXEC);
        ssize_t length = fd < 0 ? -1 : read(fd, input, sizeof input);
        if (length >= 0) {
            LLVMFuzzerTestOneInput(input, (size_t)length);
            inputs++;
        }
        close(fd);
    }
    closedir(corpus);
    printf("%u inputs\n", inputs);
    return inputs ? 0 : 1;
}
