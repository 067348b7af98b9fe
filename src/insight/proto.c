/* proto.c - see proto.h. */
#include <string.h>

#include "insight/proto.h"
#include "os/os.h"

enum { VARINT = 0, LENGTH_DELIMITED = 2 };

static void
put(struct lab_out *out, const void *bytes, size_t length)
{
	int error = lab_os_write_file(out->file, bytes, length);

	if (out->error == 0)
		out->error = error;
}

static void
update_crc(struct lab_out *out)
{
	/* of half bytes, by the polynomial 0xedb88320 */
	static const uint32_t table[16] = {
	        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
	        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = ~out->crc;

	for (uint32_t i = 0; i < out->held; i++) {
		crc ^= out->buffer[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	out->crc = ~crc;
}

/* Little-endian. */
static void
put_number(struct lab_out *out, uint32_t value, unsigned bytes)
{
	uint8_t text[4];

	for (unsigned i = 0; i < bytes; i++)
		text[i] = (uint8_t)(value >> 8 * i);
	put(out, text, bytes);
}

static void
flush(struct lab_out *out, bool is_last)
{
	if (out->held == 0 && !is_last)
		return;
	update_crc(out);
	out->size += out->held;
	put_number(out, is_last, 1); /* a stored block */
	put_number(out, out->held, 2);
	put_number(out, ~out->held & 0xffff, 2);
	put(out, out->buffer, out->held);
	out->held = 0;
}

void
lab_out_begin(struct lab_out *out, int file)
{
	static const uint8_t header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};

	out->file = file;
	out->error = 0;
	out->crc = out->size = out->held = 0;
	put(out, header, sizeof header);
}

void
lab_out_end(struct lab_out *out)
{
	flush(out, true);
	put_number(out, out->crc, 4);
	put_number(out, out->size, 4);
}

static void
put_byte(struct lab_out *out, uint8_t byte)
{
	out->buffer[out->held++] = byte;
	if (out->held == sizeof out->buffer)
		flush(out, false);
}

unsigned
lab_varint_size(uint64_t value)
{
	unsigned size = 1;

	for (; value >= 128; value >>= 7)
		size++;
	return size;
}

void
lab_out_varint(struct lab_out *out, uint64_t value)
{
	for (; value >= 128; value >>= 7)
		put_byte(out, (uint8_t)(value | 128));
	put_byte(out, (uint8_t)value);
}

size_t
lab_number_size(uint64_t value)
{
	return value ? 1 + lab_varint_size(value) : 0;
}

void
lab_out_number(struct lab_out *out, unsigned field, uint64_t value)
{
	if (value == 0)
		return;
	lab_out_varint(out, field << 3 | VARINT);
	lab_out_varint(out, value);
}

void
lab_out_head(struct lab_out *out, unsigned field, size_t length)
{
	lab_out_varint(out, field << 3 | LENGTH_DELIMITED);
	lab_out_varint(out, length);
}

void
lab_out_bytes(struct lab_out *out, unsigned field, const void *bytes, size_t length)
{
	lab_out_head(out, field, length);
	for (size_t i = 0; i < length; i++)
		put_byte(out, ((const uint8_t *)bytes)[i]);
}
