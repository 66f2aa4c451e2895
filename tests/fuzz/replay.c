// Runs a fuzz target over every file of the folders given as arguments (a missing folder is empty), so that
// each input that ever mattered is replayed by the ordinary suite, with any compiler and any sanitizer.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		return 0;
	static uint8_t data[1 << 20];
	size_t size = fread(data, 1, sizeof data, file);
	fclose(file);
	// An allocation of the exact size lets the sanitizer see reads past the end.
	uint8_t *copy = malloc(size ? size : 1);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	return 1;
}

int main(int argc, char **argv)
{
	int count = 0;
	for (int i = 1; i < argc; i++) {
		DIR *folder = opendir(argv[i]);
		if (!folder)
			continue;
		const struct dirent *entry;
		while ((entry = readdir(folder)) != NULL) {
			if (entry->d_name[0] == '.')
				continue;
			char path[4096];
			snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
			count += replay_file(path);
		}
		closedir(folder);
	}
	printf("replayed %d inputs\n", count);
	return count > 0 ? 0 : 1;
}
