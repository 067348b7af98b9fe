/* target.c - see target.h. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "labyrinth/labyrinth.h"
#include "page/window.h"
#include "target.h"
#include "tool.h"

enum {
	HEADERS_MAX = 128,
	NOTES_MAX = 65536,
	NOTE_NAME = 12, /* of its owner, padded */
};

bool
target_read(const struct target *target, uintptr_t address, void *buffer, size_t size)
{
	size_t done = 0;

	while (done < size) {
		struct iovec to = {(char *)buffer + done, size - done}, from = {(void *)(address + done), size - done};
		ssize_t got = process_vm_readv(target->pid, &to, 1, &from, 1, 0);
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

/* ---- mappings ---- */

static bool
read_mappings(struct target *target)
{
	char path[64], *line = NULL;
	size_t capacity = 0;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)target->pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	while (getline(&line, &capacity, file) > 0) {
		unsigned long start, end, offset;
		char rights[5];
		int at = 0;
		if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %n", &start, &end, rights, &offset, &at) < 4 || at == 0)
			continue;
		line[strcspn(line, "\n")] = 0;
		target->mappings = reallocate(target->mappings, (target->mapping_count + 1) * sizeof *target->mappings);
		target->mappings[target->mapping_count++] = (struct mapping){
		        start, end, offset, rights[0] == 'r', print_text("%s", line + at),
		};
	}
	free(line);
	bool failed = ferror(file);
	fclose(file);
	return !failed;
}

static void
read_name(struct target *target)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/comm", (int)target->pid);
	FILE *file = fopen(path, "re");
	if (file && fgets(target->name, sizeof target->name, file))
		target->name[strcspn(target->name, "\n")] = 0;
	if (file)
		fclose(file);
	for (char *letter = target->name; *letter; letter++)
		if ((unsigned char)*letter < ' ' || (unsigned char)*letter >= 0x7f) /* it is for terminals and JSON */
			*letter = '?';
	if (!target->name[0])
		strcpy(target->name, "?");
}

/* ---- Labyrinth's block ---- */

/* The block's address by the note in a segment of notes; 0: there is none. */
static uintptr_t
find_in_notes(const struct target *target, uintptr_t address, size_t size)
{
	static const char owner[NOTE_NAME] = "Labyrinth";
	char *notes = allocate(size);
	uintptr_t found = 0;

	if (!target_read(target, address, notes, size))
		size = 0;
	for (size_t at = 0; !found && at + sizeof(Elf64_Nhdr) <= size;) {
		Elf64_Nhdr head;
		memcpy(&head, notes + at, sizeof head);
		size_t name = at + sizeof head, value = name + (((size_t)head.n_namesz + 3) & ~(size_t)3);
		int64_t distance;
		if (head.n_namesz > size || head.n_descsz > size || value + sizeof distance > size)
			break;
		if (head.n_type == LAB_INSPECT_NOTE && head.n_descsz == sizeof distance &&
		    head.n_namesz == strlen(owner) + 1 && memcmp(notes + name, owner, head.n_namesz) == 0) {
			memcpy(&distance, notes + value, sizeof distance);
			found = address + value + (uintptr_t)distance;
		}
		at = value + (((size_t)head.n_descsz + 3) & ~(size_t)3);
	}
	free(notes);
	return found;
}

/* The same by the ELF header at the start of a mapping. */
static uintptr_t
find_in_image(const struct target *target, const struct mapping *mapping)
{
	Elf64_Ehdr head;
	Elf64_Phdr headers[HEADERS_MAX];
	uintptr_t bias = mapping->start, found = 0;

	if (!target_read(target, mapping->start, &head, sizeof head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof *headers || head.e_phnum > HEADERS_MAX ||
	    !target_read(target, mapping->start + head.e_phoff, headers, head.e_phnum * sizeof *headers))
		return 0;
	for (unsigned i = 0; i < head.e_phnum; i++)
		if (headers[i].p_type == PT_LOAD && headers[i].p_offset < LAB_PAGE_SIZE)
			bias = mapping->start - (headers[i].p_vaddr & ~(LAB_PAGE_SIZE - 1));
	for (unsigned i = 0; i < head.e_phnum && !found; i++)
		if (headers[i].p_type == PT_NOTE && headers[i].p_memsz <= NOTES_MAX)
			found = find_in_notes(target, bias + headers[i].p_vaddr, headers[i].p_memsz);
	return found;
}

/* Takes the block at the address, unless one was found that is in use. */
static void
consider(struct target *target, uintptr_t address, const char *path)
{
	struct lab_inspect block;
	uintptr_t space = 0;
	const size_t head = offsetof(struct lab_inspect, asserts);

	memset(&block, 0, sizeof block);
	if (!target_read(target, address, &block, head) || block.magic != LAB_INSPECT_MAGIC)
		return;
	if (block.layout == LAB_INSPECT_LAYOUT) {
		if (!target_read(target, address, &block, sizeof block))
			return;
		(void)target_read(target, (uintptr_t)block.space, &space, sizeof space);
	}
	if (target->block_address && space == 0)
		return;
	block.release[sizeof block.release - 1] = 0;
	target->block_address = address;
	target->block = block;
	target->library = path;
}

static enum attached
find_block(struct target *target)
{
	uintptr_t space = 0;
	struct lab_inspect_start start;

	for (size_t i = 0; i < target->mapping_count; i++) {
		const struct mapping *mapping = &target->mappings[i];
		uintptr_t address = mapping->readable && mapping->offset == 0 && mapping->path[0] != '['
		                            ? find_in_image(target, mapping)
		                            : 0;
		if (address)
			consider(target, address, mapping->path);
	}
	if (!target->block_address)
		return TARGET_IS_OTHER;
	if (target->block.layout != LAB_INSPECT_LAYOUT)
		return TARGET_IS_STRANGE;
	if (target_read(target, (uintptr_t)target->block.start, &start, sizeof start)) {
		target->started_ms = start.ms;
		target->start_pid = start.pid;
	}
	if (!target_read(target, (uintptr_t)target->block.space, &space, sizeof space) || space == 0)
		return TARGET_IS_EARLY;
	return TARGET_IS_OURS;
}

/* ---- attaching ---- */

static char
state_of(pid_t pid)
{
	char path[64], line[512], *end;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	size_t length = file ? fread(line, 1, sizeof line - 1, file) : 0;
	if (file)
		fclose(file);
	line[length] = 0;
	end = strrchr(line, ')');
	return end && end[1] == ' ' ? end[2] : 0;
}

static int
yama_scope(void)
{
	int scope = 0;
	FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");

	if (file && fscanf(file, "%d", &scope) != 1)
		scope = 0;
	if (file)
		fclose(file);
	return scope;
}

static char *
refusal(const struct target *target)
{
	int scope = yama_scope();

	if (scope >= 3)
		return print_text(
		        "process %d (%s): the kernel lets nobody look into it (kernel.yama.ptrace_scope is %d)",
		        (int)target->pid, target->name, scope);
	if (scope > 0 && geteuid() != 0)
		return print_text(
		        "process %d (%s): not permitted: kernel.yama.ptrace_scope is %d; be root, or set it to 0 "
		        "with sysctl, or give this tool CAP_SYS_PTRACE",
		        (int)target->pid, target->name, scope);
	return print_text(
	        "process %d (%s): not permitted: be its user, or root with CAP_SYS_PTRACE (a container's often "
	        "lacks it); a program that gave up rights, or is set-user-ID, is root's",
	        (int)target->pid, target->name);
}

/* Whether its memory may be read at all. */
static int
try_to_read(const struct target *target)
{
	char byte;

	for (size_t i = 0; i < target->mapping_count; i++) {
		struct iovec to = {&byte, 1}, from = {(void *)target->mappings[i].start, 1};
		if (!target->mappings[i].readable || target->mappings[i].path[0] == '[')
			continue;
		if (process_vm_readv(target->pid, &to, 1, &from, 1, 0) == 1)
			return 0;
		if (errno != EFAULT)
			return errno;
	}
	return EFAULT;
}

static enum attached
attach(struct target *target)
{
	char path[64], state = state_of(target->pid);

	if (state == 0 || state == 'Z' || state == 'X')
		return TARGET_IS_GONE;
	read_name(target);
	if (!read_mappings(target))
		return errno == EACCES || errno == EPERM ? TARGET_IS_REFUSED : TARGET_IS_GONE;
	int error = target->mapping_count ? try_to_read(target) : 0;
	if (error)
		return error == ESRCH ? TARGET_IS_GONE : error == EPERM ? TARGET_IS_REFUSED : TARGET_IS_OTHER;
	snprintf(path, sizeof path, "/proc/%d/pagemap", (int)target->pid);
	target->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	return find_block(target);
}

enum attached
target_attach(struct target *target, pid_t pid, char **why)
{
	*target = (struct target){.pid = pid, .pagemap = -1};
	*why = NULL;
	errno = 0;
	enum attached attached = attach(target);
	switch (attached) {
	case TARGET_IS_GONE:
		*why = print_text("process %d: there is none, or it has ended", (int)pid);
		break;
	case TARGET_IS_REFUSED:
		*why = refusal(target);
		break;
	case TARGET_IS_OTHER:
		*why = print_text("process %d (%s) does not run on Labyrinth", (int)pid, target->name);
		break;
	case TARGET_IS_STRANGE:
		*why = print_text(
		        "process %d (%s) runs on Labyrinth %s, %s, which this tool does not know (it is of %d.%d.%d, "
		        "and of another build or version)",
		        (int)pid, target->name, target->block.release, target->library, LAB_VERSION_MAJOR,
		        LAB_VERSION_MINOR, LAB_VERSION_PATCH);
		break;
	case TARGET_IS_EARLY:
	case TARGET_IS_OURS:
		break;
	}
	return attached;
}

bool
target_attach_or_complain(struct target *target, pid_t pid)
{
	char *why;
	enum attached attached = target_attach(target, pid, &why);

	if (attached == TARGET_IS_EARLY)
		(void)complain("process %d (%s) has Labyrinth, and has not called malloc yet", (int)pid, target->name);
	else if (attached != TARGET_IS_OURS)
		(void)complain("%s", why);
	free(why);
	if (attached != TARGET_IS_OURS)
		target_detach(target);
	return attached == TARGET_IS_OURS;
}

void
target_detach(struct target *target)
{
	for (size_t i = 0; i < target->mapping_count; i++)
		free(target->mappings[i].path);
	free(target->mappings);
	if (target->pagemap >= 0)
		close(target->pagemap);
	*target = (struct target){.pagemap = -1};
}

size_t
target_pages(const struct target *target)
{
	size_t pages = 0;

	for (size_t i = 0; i < target->mapping_count; i++)
		pages += (target->mappings[i].end - target->mappings[i].start) >> LAB_PAGE_SHIFT;
	return pages;
}

bool
target_resident(const struct target *target, uintptr_t start, uintptr_t end, size_t *pages, size_t *most)
{
	const uint64_t present = UINT64_C(1) << 63;
	uint64_t entries[1024];
	uintptr_t page = start >> LAB_PAGE_SHIFT, last = (end + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;

	if (end < start || last - page > *most)
		return false;
	*most -= last - page;
	while (page < last) {
		size_t want = last - page < 1024 ? last - page : 1024;
		ssize_t got = pread(target->pagemap, entries, want * sizeof *entries, (off_t)(page * sizeof *entries));
		if (got < (ssize_t)sizeof *entries)
			return false;
		for (size_t i = 0; i < (size_t)got / sizeof *entries; i++)
			*pages += (entries[i] & present) != 0;
		page += (size_t)got / sizeof *entries;
	}
	return true;
}
