/*
 * tests/fuzz/fuzz_networks.c - a network of penalty_exempt, and an address
 * that is in it or is not.
 *
 * Runs in: the fuzzers alone.  The text is the input up to its first NUL; 16
 * bytes behind that are an address.  What is read is written as a network that
 * is read as the same; inet_pton(3) agrees; and the address is free of
 * penalties exactly if its first bits are the network's.
 *
 * Covers: master/source.c: source_parse_network parse_prefix cut is_exempt
 * Covers: master/source.c: source_network_text map_ipv4
 */
#include <netinet/in.h>

#include <arpa/inet.h>

#include "master/source.h"
#include "tests/fuzz/input.h"

#define TEXT_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_mapped(const uint8_t key[SOURCE_KEY_LEN])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(key, mapped, sizeof(mapped)) == 0;
}

static bool
has_bit(const uint8_t *key, unsigned bit)
{
	return key[bit / 8] >> (7 - bit % 8) & 1;
}

/* The two have these first bits alike. */
static bool
same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned i;

	for (i = 0; i < bits; i++)
		if (has_bit(a, i) != has_bit(b, i))
			return false;
	return true;
}

/* A crash costs at once, but for whoever is exempt. */
static void
check_exempt(
    const struct source_network *net, const uint8_t key[SOURCE_KEY_LEN])
{
	struct source_limits limits = { .crash_cooldown_ms = 1000,
		.prefix_ipv4 = 32,
		.prefix_ipv6 = 128,
		.exempts = 1 };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
	const struct sockaddr *sa = (const struct sockaddr *)&sin6;
	struct sources *t = sources_new();
	bool in;

	fuzz_check(t != NULL);
	limits.exempt[0] = *net;
	sources_set_limits(t, &limits);
	memcpy(&sin6.sin6_addr, key, SOURCE_KEY_LEN);
	if (is_mapped(key)) {
		memcpy(&sin.sin_addr, key + 12, 4);
		sa = (const struct sockaddr *)&sin;
	}
	in = is_mapped(key) == is_mapped(net->address) &&
	    same_bits(key, net->address, net->bits);
	fuzz_check(source_admit(t, sa, 1) == SOURCE_ADMITTED);
	fuzz_check((source_offend(t, sa, SOURCE_CRASH, 1) == 0) == in);
	source_leave(t, sa, 1);
	sources_free(t);
}

static void
check_network(const char *text, const struct source_network *net)
{
	char shown[SOURCE_TEXT_MAX], again_shown[SOURCE_TEXT_MAX];
	struct source_network again;
	struct in6_addr six;
	struct in_addr four;
	unsigned i;

	fuzz_check(net->bits <= 128);
	for (i = net->bits; i < 128; i++)
		fuzz_check(!has_bit(net->address, i));
	source_network_text(net, shown, sizeof(shown));
	fuzz_check(source_parse_network(shown, &again) &&
	    again.bits == net->bits &&
	    memcmp(again.address, net->address, SOURCE_KEY_LEN) == 0);
	fuzz_check(strcmp(shown,
		       source_network_text(
			   &again, again_shown, sizeof(again_shown))) == 0);
	if (strchr(text, '/') == NULL)
		fuzz_check(net->bits == 128 &&
		    (inet_pton(AF_INET, text, &four) == 1
			    ? memcmp(net->address + 12, &four, 4) == 0
			    : inet_pton(AF_INET6, text, &six) == 1 &&
				memcmp(net->address, &six, 16) == 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	uint8_t key[SOURCE_KEY_LEN] = { 0 };
	struct source_network net;
	struct in6_addr six;
	struct in_addr four;
	char text[TEXT_MAX];
	size_t len = end == NULL ? size : (size_t)(end - data), left;

	if (len >= sizeof(text))
		return 0;
	memcpy(text, data, len);
	text[len] = '\0';
	if (!source_parse_network(text, &net)) {
		/* A plain address is never refused. */
		fuzz_check(inet_pton(AF_INET, text, &four) != 1 &&
		    inet_pton(AF_INET6, text, &six) != 1);
		return 0;
	}
	check_network(text, &net);
	check_exempt(&net, net.address);
	left = end == NULL ? 0 : size - len - 1;
	memcpy(key, data + len + (left > 0),
	    left > sizeof(key) ? sizeof(key) : left);
	check_exempt(&net, key);
	/* Its neighbour, which differs in the last bit that counts. */
	if (net.bits > 0) {
		memcpy(key, net.address, sizeof(key));
		key[(net.bits - 1) / 8] ^=
		    (uint8_t)(0x80 >> (net.bits - 1) % 8);
		check_exempt(&net, key);
	}
	return 0;
}
