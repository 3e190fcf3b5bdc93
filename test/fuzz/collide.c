/*-------------------------------------------------------------------------
 *
 * collide.c
 *	  Prints N uuids whose key bytes (the length 16, and the uuid) all have the
 *	  same value of the server's hash_bytes.
 *
 *		collide N
 *
 * Both steps of that hash, mix and final (Jenkins: "lookup3.c", 2006), can be undone:
 * start from a state with the wanted result in c, undo final, take off some bytes
 * for the end of the key, undo mix, and the rest is the key's beginning, if that
 * happens to start with the length.  For a machine with the low byte first.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SIZE	17
#define INITIAL		(0x9e3779b9U + KEY_SIZE + 3923095)
#define RESULT		0x12345678U

static uint64_t state = 1;

/* Marsaglia: "Xorshift RNGs", 2003 */
static uint32_t
any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t) (state >> 16);
}

static uint32_t
rotate(uint32_t x, int k)
{
	return x << k | x >> (32 - k);
}

/* x = (x ^ y) - rotate(y, k), undone */
static uint32_t
undo_final(uint32_t x, uint32_t y, int k)
{
	return (x + rotate(y, k)) ^ y;
}

/* x = (x - y) ^ rotate(y, k); y += z, undone */
static void
undo_mix(uint32_t *x, uint32_t *y, uint32_t z, int k)
{
	*y -= z;
	*x = (*x ^ rotate(*y, k)) + *y;
}

static int
make_key(unsigned char *key)
{
	uint32_t	a = any();
	uint32_t	b = any();
	uint32_t	c = RESULT;
	uint32_t	end = any();

	c = undo_final(c, b, 24);
	b = undo_final(b, a, 14);
	a = undo_final(a, c, 4);
	c = undo_final(c, b, 16);
	b = undo_final(b, a, 25);
	a = undo_final(a, c, 11);
	c = undo_final(c, b, 14);

	memcpy(key + 12, &end, 4);
	key[16] = (unsigned char) any();
	a -= end;
	b -= key[16];

	undo_mix(&c, &b, a, 4);
	undo_mix(&b, &a, c, 19);
	undo_mix(&a, &c, b, 16);
	undo_mix(&c, &b, a, 8);
	undo_mix(&b, &a, c, 6);
	undo_mix(&a, &c, b, 4);

	a -= INITIAL;
	b -= INITIAL;
	c -= INITIAL;
	memcpy(key, &a, 4);
	memcpy(key + 4, &b, 4);
	memcpy(key + 8, &c, 4);
	return key[0] == KEY_SIZE - 1;
}

int
main(int argc, char **argv)
{
	unsigned char key[KEY_SIZE];

	for (long n = argc == 2 ? atol(argv[1]) : 0; n > 0; n--)
	{
		while (!make_key(key))
			;
		for (int i = 1; i < KEY_SIZE; i++)
			printf("%02x", key[i]);
		printf("\n");
	}
	return 0;
}
