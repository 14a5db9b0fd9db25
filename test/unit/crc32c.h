/*
 * crc32c.h
 *	  CRC-32C, bit by bit (RFC 3720, appendix B.4: polynomial 0x1EDC6F41,
 *	  reflected).
 */
#ifndef CRC32C_H
#define CRC32C_H

#include <stddef.h>
#include <stdint.h>

__attribute__((unused)) static uint32_t
crc32c(const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	uint32_t crc = 0xFFFFFFFF;

	for (size_t i = 0; i < n; i++)
	{
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
	}
	return ~crc;
}

#endif /* CRC32C_H */
