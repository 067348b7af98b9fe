/* maps.c - see maps.h. */
#include <elf.h>
#include <string.h>

#include "insight/maps.h"
#include "os/os.h"

enum { BUFFER = 8192 };

/* The mapping of a file's start that was read last: its headers, in memory. */
struct image {
	uintptr_t start, end;
	char name[256];
};

/* In a mapping of its own: the stack may be a handler's. */
struct reader {
	struct lab_maps *maps;
	struct image image;
	char buffer[BUFFER];
};

static uintptr_t
parse_hex(const char **at)
{
	uintptr_t value = 0;

	for (;; (*at)++) {
		char c = **at;
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
		                 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
		                                        : 16;
		if (digit == 16)
			return value;
		value = value << 4 | digit;
	}
}

static const char *
skip_field(const char *at)
{
	while (*at && *at != ' ')
		at++;
	while (*at == ' ')
		at++;
	return at;
}

static size_t
round_up_to_4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static void
find_in_notes(struct lab_code_map *map, const char *at, const char *end)
{
	while ((size_t)(end - at) >= sizeof(Elf64_Nhdr)) {
		const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
		size_t name = round_up_to_4(note->n_namesz), description = round_up_to_4(note->n_descsz);
		if (name + description > (size_t)(end - at) - sizeof *note)
			return;
		const char *text = at + sizeof *note;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(text, "GNU", 4) == 0) {
			map->build_id_length = note->n_descsz < LAB_BUILD_ID_MAX ? note->n_descsz : LAB_BUILD_ID_MAX;
			memcpy(map->build_id, text + name, map->build_id_length);
			return;
		}
		at = text + name + description;
	}
}

/* From the headers of the image, as far as they lie in its first mapping: where its addresses begin, and the id of the
 * build. */
static void
read_headers(struct lab_code_map *map, const struct image *image)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image->start;
	size_t size = image->end - image->start;

	if (size < LAB_OS_PAGE_SIZE || !lab_os.is_readable(image->start, image->start + LAB_OS_PAGE_SIZE) ||
	    memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
	    header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phoff > LAB_OS_PAGE_SIZE ||
	    header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr) > LAB_OS_PAGE_SIZE)
		return;
	map->base = header->e_type == ET_EXEC ? 0 : image->start;
	const Elf64_Phdr *segments = (const Elf64_Phdr *)(image->start + header->e_phoff);
	for (unsigned i = 0; i < header->e_phnum && map->build_id_length == 0; i++) {
		uintptr_t notes = image->start + segments[i].p_offset;
		if (segments[i].p_type == PT_NOTE && segments[i].p_offset < size &&
		    segments[i].p_filesz <= size - segments[i].p_offset &&
		    lab_os.is_readable(notes, notes + segments[i].p_filesz))
			find_in_notes(map, (const char *)notes, (const char *)notes + segments[i].p_filesz);
	}
}

static uint32_t
keep_name(struct lab_maps *maps, const char *name)
{
	size_t length = strlen(name);
	uint32_t at = maps->names_length;

	if (length == 0 || length + 1 > sizeof maps->names - at)
		return 0;
	memcpy(maps->names + at, name, length + 1);
	maps->names_length = at + (uint32_t)length + 1;
	return at;
}

/* START-END PERMISSIONS OFFSET DEVICE INODE    NAME */
static void
read_line(struct reader *reader, const char *line)
{
	struct lab_maps *maps = reader->maps;
	const char *at = line;
	uintptr_t start = parse_hex(&at);
	if (*at++ != '-')
		return;
	uintptr_t end = parse_hex(&at);
	if (*at++ != ' ' || strlen(at) < 4)
		return;
	const char *permissions = at;
	at = skip_field(at);
	uintptr_t offset = parse_hex(&at);
	while (*at == ' ')
		at++;
	const char *name = skip_field(skip_field(at));
	struct image *image = &reader->image;
	if (offset == 0 && permissions[0] == 'r' && *name && strlen(name) < sizeof image->name) {
		image->start = start;
		image->end = end;
		memcpy(image->name, name, strlen(name) + 1);
	}
	if (permissions[2] != 'x' || maps->count == LAB_MAPS)
		return;
	struct lab_code_map *map = &maps->maps[maps->count++];
	*map = (struct lab_code_map){.start = start, .end = end, .offset = offset, .base = start - offset};
	map->name = keep_name(maps, name);
	if (*name && strcmp(name, image->name) == 0)
		read_headers(map, image);
}

struct lab_maps *
lab_maps_read(void)
{
	size_t held = 0;
	struct reader *reader = lab_os.map(sizeof *reader, LAB_ACCESS_WRITE);
	struct lab_maps *maps = lab_os.map(sizeof *maps, LAB_ACCESS_WRITE);
	int file = lab_os_open_file("/proc/self/maps", false);
	long done;

	if (!reader || !maps || file < 0) {
		if (file >= 0)
			lab_os_close_file(file);
		if (reader)
			(void)lab_os.unmap(reader, sizeof *reader);
		lab_maps_drop(maps);
		return NULL;
	}
	char *buffer = reader->buffer;
	reader->maps = maps;
	maps->names_length = 1;
	while ((done = lab_os_read(file, buffer + held, BUFFER - 1 - held)) > 0) {
		char *line = buffer, *newline;
		held += (size_t)done;
		buffer[held] = 0;
		for (; (newline = memchr(line, '\n', held - (size_t)(line - buffer))) != NULL; line = newline + 1) {
			*newline = 0;
			read_line(reader, line);
		}
		held -= (size_t)(line - buffer);
		memmove(buffer, line, held);
		if (held == BUFFER - 1)
			held = 0; /* no path is so long */
	}
	lab_os_close_file(file);
	(void)lab_os.unmap(reader, sizeof *reader);
	return maps;
}

void
lab_maps_drop(struct lab_maps *maps)
{
	if (maps)
		(void)lab_os.unmap(maps, sizeof *maps);
}

const struct lab_code_map *
lab_maps_find(const struct lab_maps *maps, uintptr_t address)
{
	uint32_t low = 0, high = maps->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (address < maps->maps[middle].start)
			high = middle;
		else if (address >= maps->maps[middle].end)
			low = middle + 1;
		else
			return &maps->maps[middle];
	}
	return NULL;
}
