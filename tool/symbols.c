/* symbols.c - see symbols.h. */
#include <dlfcn.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "symbols.h"
#include "tool.h"

static char *debug_path;
static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf,
        .find_debuginfo = dwfl_standard_find_debuginfo,
        .debuginfo_path = &debug_path,
};

/* Where the file's address 0 is: of the loadable segment that the mapping begins in. False: there is none. */
static bool
find_bias(const char *path, const struct file_mapping *mapping, GElf_Addr *bias)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ_MMAP, NULL) : NULL;
	size_t count = 0;
	bool found = false;

	if (elf && elf_getphdrnum(elf, &count) == 0) {
		for (size_t i = 0; i < count && !found; i++) {
			GElf_Phdr header;
			if (!gelf_getphdr(elf, (int)i, &header) || header.p_type != PT_LOAD)
				continue;
			GElf_Off first = header.p_offset & ~(GElf_Off)0xfff;
			found = header.p_flags & PF_X && mapping->offset >= first &&
			        mapping->offset < header.p_offset + header.p_filesz;
			*bias = mapping->start - mapping->offset + header.p_offset - header.p_vaddr;
		}
	}
	if (elf)
		elf_end(elf);
	if (fd >= 0)
		close(fd);
	return found;
}

/* Whether the module is the build that was mapped; also where one of them does not say. */
static bool
is_same_build(Dwfl_Module *module, const char *wanted)
{
	const unsigned char *bits;
	GElf_Addr address;
	int length = dwfl_module_build_id(module, &bits, &address);
	char hex[3];

	if (length <= 0 || !*wanted)
		return true;
	for (int i = 0; i < length && wanted[2 * i]; i++) {
		snprintf(hex, sizeof hex, "%02x", bits[i]);
		if (memcmp(hex, wanted + 2 * (ptrdiff_t)i, 2) != 0)
			return false;
	}
	return true;
}

static void
report_mapping(Dwfl *dwfl, const struct profile *profile, const struct file_mapping *mapping, bool *wrong)
{
	const char *path = profile_string(profile, mapping->file);
	GElf_Addr bias;

	if (*path != '/' || !find_bias(path, mapping, &bias))
		return;
	Dwfl_Module *module = dwfl_report_elf(dwfl, path, path, -1, bias, true);
	if (module)
		*wrong = !is_same_build(module, profile_string(profile, mapping->build_id));
	if (*wrong)
		fprintf(stderr,
		        "labyrinth: %s is another build than the one that was profiled: its names are left out\n",
		        path);
}

/* Without the version that a symbol of a shared library carries. */
static const char *
without_version(const char *name)
{
	const char *at = strchr(name, '@');

	if (!at || at == name)
		return name;
	char *text = allocate((size_t)(at - name) + 1);
	memcpy(text, name, (size_t)(at - name));
	text[at - name] = 0;
	return text;
}

/* C++ names as they are written, if the C++ runtime is there to say. */
static const char *
demangle(const char *name)
{
	static char *(*function)(const char *, char *, size_t *, int *);
	static bool was_looked_for;
	int status;

	if (!was_looked_for) {
		void *library = dlopen("libstdc++.so.6", RTLD_NOW);
		void *symbol = library ? dlsym(library, "__cxa_demangle") : NULL;
		memcpy(&function, &symbol, sizeof function);
		was_looked_for = true;
	}
	char *text = function && strncmp(name, "_Z", 2) == 0 ? function(name, NULL, NULL, &status) : NULL;
	return text ? text : name;
}

static char *
print_address(const struct profile *profile, const struct location *location)
{
	const struct file_mapping *mapping = profile_mapping(profile, location->mapping);
	const char *path = mapping ? profile_string(profile, mapping->file) : "", *slash = strrchr(path, '/');
	const char *file = slash ? slash + 1 : path;
	size_t size = strlen(file) + 32;
	char *text = allocate(size);

	if (mapping && *file)
		snprintf(text, size, "%s+0x%llx", file,
		         (unsigned long long)(location->address - mapping->start + mapping->offset));
	else
		snprintf(text, size, "0x%llx", (unsigned long long)location->address);
	return text;
}

static char *
print_source(Dwfl_Module *module, GElf_Addr address)
{
	Dwfl_Line *line = dwfl_module_getsrc(module, address);
	int number = 0;
	const char *file = line ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
	size_t size = file ? strlen(file) + 16 : 0;

	if (!file)
		return NULL;
	char *text = allocate(size);
	snprintf(text, size, "%s:%d", file, number);
	return text;
}

static const char *
written_name(const struct profile *profile, const struct location *location)
{
	for (size_t i = 0; i < profile->function_count; i++)
		if (location->function != 0 && profile->functions[i].id == location->function)
			return profile_string(profile, profile->functions[i].name);
	return NULL;
}

void
symbols_find(struct profile *profile)
{
	Dwfl *dwfl = elf_version(EV_CURRENT) != EV_NONE ? dwfl_begin(&callbacks) : NULL;
	bool *wrong = memset(allocate(profile->mapping_count + 1), 0, profile->mapping_count + 1);

	for (size_t i = 0; dwfl && i < profile->mapping_count; i++)
		report_mapping(dwfl, profile, &profile->mappings[i], &wrong[i]);
	if (dwfl)
		(void)dwfl_report_end(dwfl, NULL, NULL);
	for (size_t i = 0; i < profile->location_count; i++) {
		struct location *location = &profile->locations[i];
		const struct file_mapping *mapping = profile_mapping(profile, location->mapping);
		bool is_usable = dwfl && mapping && !wrong[mapping - profile->mappings];
		Dwfl_Module *module = is_usable ? dwfl_addrmodule(dwfl, location->address) : NULL;
		const char *name = written_name(profile, location);
		if (!name && module)
			name = dwfl_module_addrname(module, location->address);
		location->name = name ? demangle(without_version(name)) : print_address(profile, location);
		location->source = module ? print_source(module, location->address) : NULL;
	}
	free(wrong); /* the names are dwfl's */
}
