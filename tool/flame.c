/* flame.c - see flame.h. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "flame.h"
#include "tool.h"

enum { WIDTH = 1200, ROW = 18, MARGIN = 10, HEAD = 40, LETTER = 7 };

/* A function, called on one way: what its own samples and those of its callees sum up to. */
struct node {
	const char *name;
	int64_t value;
	struct node *children, *next;
};

struct picture {
	FILE *file;
	const char *unit;
	double scale; /* pixels for a unit */
	int64_t total;
	int height;
};

static struct node *
child_of(struct node *node, const char *name)
{
	struct node *child = node->children;

	while (child && strcmp(child->name, name) != 0)
		child = child->next;
	if (child)
		return child;
	child = allocate(sizeof *child);
	*child = (struct node){.name = name, .next = node->children};
	node->children = child;
	return child;
}

static int
depth_of(const struct node *node)
{
	int deepest = 0;

	for (const struct node *child = node->children; child; child = child->next) {
		int depth = depth_of(child);
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + 1;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp((*(struct node *const *)a)->name, (*(struct node *const *)b)->name);
}

/* Children from left to right by name, so that pictures of two runs can be compared. */
static void
sort_children(struct node *node)
{
	size_t count = 0, i = 0;

	for (struct node *child = node->children; child; child = child->next)
		count++;
	struct node **all = allocate(count * sizeof *all);
	for (struct node *child = node->children; child; child = child->next)
		all[i++] = child;
	qsort(all, count, sizeof *all, compare_names);
	node->children = count ? all[0] : NULL;
	for (i = 0; i < count; i++) {
		all[i]->next = i + 1 < count ? all[i + 1] : NULL;
		sort_children(all[i]);
	}
	free(all);
}

/* A warm colour, the same for the same name. */
static unsigned
colour_of(const char *name)
{
	unsigned h = 5381;

	for (; *name; name++)
		h = h * 33 ^ (unsigned char)*name;
	return (205 + h % 50) << 16 | (90 + h / 50 % 120) << 8 | (40 + h / 6000 % 40);
}

static void
draw(const struct picture *picture, const struct node *node, double x, int level)
{
	double width = (double)node->value * picture->scale;
	int y = picture->height - MARGIN - (level + 1) * ROW;

	if (width < 0.3)
		return;
	fputs("<g><title>", picture->file);
	print_escaped(picture->file, node->name, SIZE_MAX);
	fprintf(picture->file, ": %" PRId64 " ", node->value);
	print_escaped(picture->file, picture->unit, SIZE_MAX);
	fprintf(picture->file, ", %.2f %%</title>", 100 * (double)node->value / (double)picture->total);
	fprintf(picture->file, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"#%06x\" rx=\"1\"/>", x, y,
	        width, ROW - 1, colour_of(node->name));
	size_t fits = width > 3 * LETTER ? (size_t)(width / LETTER) : 0, length = strlen(node->name);
	if (fits != 0) {
		fprintf(picture->file, "<text x=\"%.1f\" y=\"%d\">", x + 3, y + 13);
		print_escaped(picture->file, node->name, length > fits ? fits - 2 : fits);
		fputs(length > fits ? "..</text>" : "</text>", picture->file);
	}
	fputs("</g>\n", picture->file);
	for (const struct node *child = node->children; child; child = child->next) {
		draw(picture, child, x, level + 1);
		x += (double)child->value * picture->scale;
	}
}

void
flame_write(FILE *file, const struct profile *profile, size_t type, const char *title, const char *unit)
{
	struct node root = {.name = "all"};

	for (size_t i = 0; i < profile->sample_count; i++) {
		const struct sample *sample = &profile->samples[i];
		struct node *node = &root;
		if (sample->values[type] <= 0)
			continue;
		root.value += sample->values[type];
		for (size_t k = sample->depth; k-- > 0;) {
			node = child_of(node, sample->stack[k]->name);
			node->value += sample->values[type];
		}
	}
	sort_children(&root);
	struct picture picture = {
	        .file = file,
	        .unit = unit,
	        .scale = root.value ? (WIDTH - 2.0 * MARGIN) / (double)root.value : 0,
	        .total = root.value ? root.value : 1,
	        .height = HEAD + depth_of(&root) * ROW + 2 * MARGIN,
	};
	fprintf(file,
	        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
	        "height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"monospace\" font-size=\"12\">\n"
	        "<style>g:hover rect{stroke:#000}</style>\n"
	        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"24\" font-size=\"16\">",
	        WIDTH, picture.height, WIDTH, picture.height, MARGIN);
	print_escaped(file, title, SIZE_MAX);
	fprintf(file, ": %" PRId64 " ", root.value);
	print_escaped(file, unit, SIZE_MAX);
	fputs("</text>\n", file);
	draw(&picture, &root, MARGIN, 0);
	fputs("</svg>\n", file);
}
