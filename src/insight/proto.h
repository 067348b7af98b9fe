/*
 * proto.h - protocol buffers and gzip, as far as a profile needs them: written to a file as they are made, without
 * memory beyond a buffer. Blocks of gzip are "stored", uncompressed. Any context.
 * Source: RFC 1951, RFC 1952, and protobuf.dev's "Encoding".
 */
#ifndef LAB_INSIGHT_PROTO_H
#define LAB_INSIGHT_PROTO_H

#include "base/compiler.h"

struct lab_out {
	int file;
	int error; /* of the system's, the first one; 0: none */
	uint32_t crc;
	uint32_t size;
	uint32_t held;
	uint8_t buffer[4096];
};

/* Begins and ends a file that is open. */
void lab_out_begin(struct lab_out *out, int file);
void lab_out_end(struct lab_out *out);

/* Bytes of a number. */
unsigned lab_varint_size(uint64_t value);
void lab_out_varint(struct lab_out *out, uint64_t value);

/* Field `field` of the message that is being written: a number (left out if it is 0, which it is by default), bytes,
 * or the head of `length` bytes of a message to come. */
void lab_out_number(struct lab_out *out, unsigned field, uint64_t value);
void lab_out_bytes(struct lab_out *out, unsigned field, const void *bytes, size_t length);
void lab_out_head(struct lab_out *out, unsigned field, size_t length);

/* What lab_out_number writes, in bytes, where field < 16. */
size_t lab_number_size(uint64_t value);

#endif
