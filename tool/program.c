/* program.c - see program.h. Files are read as they are: whatever does not check is no ELF file. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "known.h"
#include "program.h"
#include "tool.h"

enum { LINE_MAX_LENGTH = 255, TEXT_LOOKED_AT = 512 };

#define NOTE "Labyrinth" /* the owner of the note of alloc/inspect.c, with its end */

/* A file in memory. */
struct image {
	const char *bytes;
	size_t size;
};

static const void *
part(const struct image *image, uint64_t offset, uint64_t size)
{
	return offset <= image->size && size <= image->size - offset ? image->bytes + offset : NULL;
}

/* The text at an offset; "" if it does not end in the file. */
static const char *
text_at(const struct image *image, uint64_t offset)
{
	return offset < image->size && memchr(image->bytes + offset, 0, image->size - offset) ? image->bytes + offset
	                                                                                      : "";
}

static void
note_needed(struct program *program, const char *name)
{
	const char *allocator = allocator_of_library(name);
	const char *sanitizer = sanitizer_of_library(name);

	program->has_labyrinth |= strncmp(name, "liblabyrinth.so", 15) == 0;
	if (allocator)
		program->allocator = allocator;
	if (sanitizer)
		program->sanitizer = sanitizer;
}

static void
note_symbol(struct program *program, const char *name, bool defined)
{
	const char *allocator = allocator_of_symbol(name);
	const char *sanitizer = sanitizer_of_symbol(name);

	if (allocator)
		program->allocator = allocator;
	if (!defined && strcmp(name, "mallctl") == 0)
		program->asks_by_name = ", and asks its mallctl";
	if (sanitizer)
		program->sanitizer = sanitizer;
	program->defines_malloc |= defined && strcmp(name, "malloc") == 0;
}

/* ---- ELF ---- */

static void
read_dynamic(struct program *program, const struct image *image, const Elf64_Shdr *section, const Elf64_Shdr *texts)
{
	size_t count = section->sh_size / sizeof(Elf64_Dyn);
	const Elf64_Dyn *entries = part(image, section->sh_offset, section->sh_size);

	for (size_t i = 0; entries && i < count && entries[i].d_tag != DT_NULL; i++)
		if (entries[i].d_tag == DT_NEEDED && entries[i].d_un.d_val < texts->sh_size)
			note_needed(program, text_at(image, texts->sh_offset + entries[i].d_un.d_val));
}

static void
read_symbols(struct program *program, const struct image *image, const Elf64_Shdr *section, const Elf64_Shdr *texts)
{
	size_t count = section->sh_size / sizeof(Elf64_Sym);
	const Elf64_Sym *symbols = part(image, section->sh_offset, section->sh_size);

	for (size_t i = 0; symbols && i < count; i++)
		if (symbols[i].st_name && symbols[i].st_name < texts->sh_size)
			note_symbol(program, text_at(image, texts->sh_offset + symbols[i].st_name),
			            symbols[i].st_shndx != SHN_UNDEF);
}

static void
read_sections(struct program *program, const struct image *image, const Elf64_Ehdr *head)
{
	const Elf64_Shdr *sections = part(image, head->e_shoff, (uint64_t)head->e_shnum * sizeof *sections);

	for (unsigned i = 0; sections && i < head->e_shnum; i++) {
		const Elf64_Shdr *section = &sections[i];
		if (section->sh_link >= head->e_shnum)
			continue;
		if (section->sh_type == SHT_DYNAMIC)
			read_dynamic(program, image, section, &sections[section->sh_link]);
		else if (section->sh_type == SHT_DYNSYM)
			read_symbols(program, image, section, &sections[section->sh_link]);
	}
}

static void
read_elf(struct program *program, const struct image *image)
{
	const Elf64_Ehdr *head = part(image, 0, sizeof *head);
	const Elf64_Phdr *headers;

	if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) {
		program->kind = PROGRAM_NOT_ELF;
		return;
	}
	if (head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_machine != EM_X86_64) {
		program->kind = PROGRAM_FOREIGN;
		return;
	}
	program->kind = PROGRAM_STATIC;
	headers = part(image, head->e_phoff, (uint64_t)head->e_phnum * sizeof *headers);
	for (unsigned i = 0; headers && i < head->e_phnum; i++)
		if (headers[i].p_type == PT_INTERP) {
			program->kind = PROGRAM_DYNAMIC;
			free(program->interpreter);
			program->interpreter = print_text("%s", text_at(image, headers[i].p_offset));
		} else if (headers[i].p_type == PT_NOTE) {
			const char *notes = part(image, headers[i].p_offset, headers[i].p_filesz);
			program->has_labyrinth |= notes && memmem(notes, headers[i].p_filesz, NOTE, sizeof NOTE);
		}
	read_sections(program, image, head);
}

/* ---- files ---- */

/* The path of what execvp would run; NULL: there is none. To be freed. */
static char *
find_program(const char *name)
{
	const char *folders = getenv("PATH");

	if (strchr(name, '/'))
		return print_text("%s", name);
	for (const char *at = folders ? folders : "/bin:/usr/bin"; *at || at == folders;) {
		int length = (int)strcspn(at, ":");
		char *path = print_text("%.*s/%s", length ? length : 1, length ? at : ".", name);
		struct stat status;
		if (stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0)
			return path;
		free(path);
		if (!at[length])
			break;
		at += length + 1;
	}
	return NULL;
}

static bool
is_privileged(const char *path, const struct stat *status)
{
	struct statvfs volume;
	char capabilities[64];

	if (statvfs(path, &volume) == 0 && volume.f_flag & ST_NOSUID)
		return false;
	if (status->st_mode & S_ISUID && status->st_uid != getuid())
		return true;
	if (status->st_mode & S_ISGID && status->st_mode & S_IXGRP && status->st_gid != getgid())
		return true;
	return geteuid() != 0 && getxattr(path, "security.capability", capabilities, sizeof capabilities) > 0;
}

/* What a "#!" line runs: its program, or what `env` is told to run. NULL: nothing. */
static char *
next_program(const char *line, size_t length)
{
	char text[LINE_MAX_LENGTH + 1], *rest, *word;

	length = length < LINE_MAX_LENGTH ? length : LINE_MAX_LENGTH;
	memcpy(text, line, length);
	text[length] = 0;
	text[strcspn(text, "\n")] = 0;
	word = strtok_r(text, " \t", &rest);
	if (word && strcmp(base_name(word), "env") == 0) {
		char *told = strtok_r(NULL, " \t", &rest);
		while (told && (*told == '-' || strchr(told, '=')))
			told = strtok_r(NULL, " \t", &rest);
		word = told ? told : word;
	}
	return word ? find_program(word) : NULL;
}

/* The file at program->path; true: it is a script, and path is what that runs now. */
static bool
read_file(struct program *program)
{
	struct stat status;
	struct image image = {0};
	int file = open(program->path, O_RDONLY | O_CLOEXEC);
	bool again = false;

	program->kind = errno == ENOENT || errno == ENOTDIR ? PROGRAM_MISSING : PROGRAM_REFUSED;
	if (file < 0)
		return false;
	program->kind = PROGRAM_REFUSED;
	if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && access(program->path, X_OK) == 0) {
		program->kind = PROGRAM_NOT_ELF;
		image.size = (size_t)status.st_size;
		image.bytes = image.size ? mmap(NULL, image.size, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
		if (image.bytes == MAP_FAILED)
			image.size = 0;
		program->privileged = is_privileged(program->path, &status);
	}
	close(file);
	size_t looked_at = image.size < TEXT_LOOKED_AT ? image.size : TEXT_LOOKED_AT;
	bool is_elf = image.size >= SELFMAG && memcmp(image.bytes, ELFMAG, SELFMAG) == 0;
	bool is_text = looked_at && !is_elf && !memchr(image.bytes, 0, looked_at);
	if (image.size > 2 && memcmp(image.bytes, "#!", 2) == 0 && program->script_count < PROGRAM_SCRIPTS) {
		char *next = next_program(image.bytes + 2, image.size - 2);
		program->scripts[program->script_count++] = program->path;
		again = next != NULL;
		program->path = next;
		program->privileged = false;                             /* the kernel ignores a script's */
	} else if (is_text && program->script_count < PROGRAM_SCRIPTS) { /* execvp gives it to the shell */
		program->scripts[program->script_count++] = program->path;
		program->path = print_text("/bin/sh");
		program->privileged = false;
		again = true;
	} else if (image.size) {
		read_elf(program, &image);
	}
	if (image.size)
		munmap((void *)(uintptr_t)image.bytes, image.size);
	if (!program->path)
		program->kind = PROGRAM_MISSING;
	return again;
}

void
program_inspect(struct program *program, const char *name)
{
	*program = (struct program){.path = find_program(name), .kind = PROGRAM_MISSING, .asks_by_name = ""};
	while (program->path && read_file(program))
		;
	if (!program->path && !program->script_count)
		program->path = print_text("%s", name);
}

void
program_free(struct program *program)
{
	free(program->path);
	free(program->interpreter);
	for (size_t i = 0; i < program->script_count; i++)
		free(program->scripts[i]);
	*program = (struct program){0};
}

bool
program_is_glibc(const struct program *program)
{
	return program->interpreter && strncmp(base_name(program->interpreter), "ld-linux", 8) == 0;
}

char *
program_objection(const struct program *program)
{
	const char *path = program->path;

	switch (program->kind) {
	case PROGRAM_MISSING:
		if (!path)
			return print_text("%s: what its first line asks for is not there",
			                  program->scripts[program->script_count - 1]);
		return print_text("%s: no such program", path);
	case PROGRAM_REFUSED:
		return print_text("%s: no program that may be read and executed", path);
	case PROGRAM_NOT_ELF:
		return print_text("%s: neither a program nor a script with a #! line", path);
	case PROGRAM_FOREIGN:
		return print_text("%s: not a program for x86-64, which is all that Labyrinth is for", path);
	case PROGRAM_STATIC:
		if (program->has_labyrinth)
			return NULL;
		return print_text("%s: statically linked, so that nothing is preloaded: link it with liblabyrinth.a",
		                  path);
	case PROGRAM_DYNAMIC:
		break;
	}
	if (program->has_labyrinth)
		return NULL;
	if (!program_is_glibc(program))
		return print_text("%s: not linked with glibc but for %s%s: Labyrinth needs glibc", path,
		                  program->interpreter, strstr(program->interpreter, "musl") ? " (musl)" : "");
	if (program->sanitizer)
		return print_text(
		        "%s: built with %s, which has a malloc of its own and must come first: build it without", path,
		        program->sanitizer);
	if (program->defines_malloc)
		return print_text(
		        "%s: defines malloc itself%s%s, which comes before any preloaded one: build it without", path,
		        program->allocator ? ", with " : "", program->allocator ? program->allocator : "");
	if (program->privileged)
		return print_text(
		        "%s: set-user-ID, set-group-ID or with capabilities: the loader takes no LD_PRELOAD from "
		        "users; link it with -llabyrinth, or start it as the user that it runs as",
		        path);
	return NULL;
}

/* ---- all libraries ---- */

/* Whether it is the one that has loaded this program: what a file names as its own may be anything. */
static bool
is_systems_loader(const char *interpreter)
{
	const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
	unsigned long count = getauxval(AT_PHNUM), base = 0;

	for (unsigned long i = 0; headers && i < count; i++)
		if (headers[i].p_type == PT_PHDR)
			base = (unsigned long)headers - headers[i].p_vaddr;
	for (unsigned long i = 0; headers && i < count; i++)
		if (headers[i].p_type == PT_INTERP)
			return strcmp((const char *)(base + headers[i].p_vaddr), interpreter) == 0;
	return false;
}

char **
program_libraries(const struct program *program)
{
	char **list = allocate(sizeof *list), *line = NULL;
	size_t count = 0, capacity = 0;
	int ends[2];
	pid_t child;

	*list = NULL;
	if (!program_is_glibc(program) || program->privileged || !is_systems_loader(program->interpreter) ||
	    pipe2(ends, O_CLOEXEC) != 0)
		return list;
	child = fork();
	if (child == 0) {
		int nothing = open("/dev/null", O_WRONLY);
		setenv("LD_TRACE_LOADED_OBJECTS", "1", 1); /* as ldd; --list says nothing where one is missing */
		if (dup2(ends[1], STDOUT_FILENO) >= 0 && dup2(nothing, STDERR_FILENO) >= 0)
			execl(program->interpreter, program->interpreter, program->path, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	FILE *stream = fdopen(ends[0], "re");
	while (stream && getline(&line, &capacity, stream) > 0) {
		line[strcspn(line, "\n")] = 0;
		char *name = line + strspn(line, " \t");
		char *path = strstr(name, " => ");
		char *end = strstr(name, " (0x");
		if (end)
			*end = 0;
		list = reallocate(list, (count + 2) * sizeof *list);
		list[count++] = print_text("%s", path ? path + 4 : name);
		list[count] = NULL;
	}
	free(line);
	if (stream)
		fclose(stream);
	else
		close(ends[0]);
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	return list;
}
