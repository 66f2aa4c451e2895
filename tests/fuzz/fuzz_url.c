// Any text as a URL: what is accepted must be clean, must read the same again, and a literal host that the
// guard lets pass must be public by an oracle written another way than the guard.
#include "base/mem.h"
#include "net/netguard.h"
#include "net/url.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const schemes[] = {"http", "https", "file", "s3", NULL};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool between(uint32_t address, const char *first, const char *last)
{
	return address >= ntohl(inet_addr(first)) && address <= ntohl(inet_addr(last));
}

static bool special4(uint32_t a)
{
	return between(a, "0.0.0.0", "0.255.255.255") || between(a, "10.0.0.0", "10.255.255.255") ||
	       between(a, "100.64.0.0", "100.127.255.255") || between(a, "127.0.0.0", "127.255.255.255") ||
	       between(a, "169.254.0.0", "169.254.255.255") || between(a, "172.16.0.0", "172.31.255.255") ||
	       between(a, "192.0.0.0", "192.0.0.255") || between(a, "192.0.2.0", "192.0.2.255") ||
	       between(a, "192.88.99.0", "192.88.99.255") || between(a, "192.168.0.0", "192.168.255.255") ||
	       between(a, "198.18.0.0", "198.19.255.255") || between(a, "198.51.100.0", "198.51.100.255") ||
	       between(a, "203.0.113.0", "203.0.113.255") || a >= ntohl(inet_addr("224.0.0.0"));
}

static uint32_t word(const struct in6_addr *a, int at)
{
	return (uint32_t)a->s6_addr[at] << 24 | (uint32_t)a->s6_addr[at + 1] << 16 | (uint32_t)a->s6_addr[at + 2] << 8 |
	       a->s6_addr[at + 3];
}

static bool special6(const struct in6_addr *a)
{
	if (IN6_IS_ADDR_V4MAPPED(a))
		return special4(word(a, 12));
	if (IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_SITELOCAL(a) ||
	    IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_V4COMPAT(a))
		return true;
	if (word(a, 0) == 0x0064ff9b && word(a, 4) == 0 && word(a, 8) == 0)
		return special4(word(a, 12));
	if (a->s6_addr[0] == 0x20 && a->s6_addr[1] == 0x02)
		return special4(word(a, 2));
	return (a->s6_addr[0] & 0xfe) == 0xfc || word(a, 0) == 0x20010db8 || word(a, 0) == 0x01000000 ||
	       (word(a, 0) >= 0x20010000 && word(a, 0) <= 0x200101ff) || word(a, 0) == 0x0064ff9b;
}

static void check_text(const char *text, bool spaces_too)
{
	for (; text && *text; text++)
		check((unsigned char)*text > (spaces_too ? ' ' : 0x1f) && (unsigned char)*text < 0x7f);
}

static void check_guard(const struct ts_url *url)
{
	struct ts_addresses addresses;
	struct ts_netguard *guard = NULL;
	struct in_addr in4;
	struct in6_addr in6;
	struct in_addr loose;

	bool is4 = inet_pton(AF_INET, url->host, &in4) == 1;
	bool is6 = !is4 && inet_pton(AF_INET6, url->host, &in6) == 1;
	// What the C library would read as an address in another spelling must not have got here.
	check(is4 || !inet_aton(url->host, &loose));
	if (!is4 && !is6)
		return; // a name: nothing to judge without asking the network
	if (ts_netguard_create("", &guard, NULL) != TS_OK)
		abort();
	enum ts_err err = ts_netguard_resolve(guard, url->host, url->port, &addresses, NULL);
	ts_netguard_destroy(guard);
	check(err == TS_OK || err == TS_ERR_NET_FORBIDDEN);
	if (err == TS_OK)
		check(is4 ? !special4(ntohl(in4.s_addr)) : !special6(&in6));
}

static void check_again(const struct ts_url *url)
{
	TS_AUTOURL struct ts_url again = {0};
	TS_AUTOFREE char *text = ts_url_format(url);

	check(text != NULL);
	check_text(text, true);
	// Canonical spelling may be longer than what was given (an IPv6 address with a dotted tail).
	if (strlen(text) > TS_URL_MAX)
		return;
	check(ts_url_parse(text, schemes, &again, NULL) == TS_OK);
	check(ts_url_same_origin(url, &again));
	check(strcmp(url->path, again.path) == 0);
	check((url->query && url->query[0]) == (again.query && again.query[0]));
	if (url->query && again.query)
		check(strcmp(url->query, again.query) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	TS_AUTOURL struct ts_url url = {0};
	TS_AUTOURL struct ts_url base = {0};
	TS_AUTOURL struct ts_url joined = {0};
	char *text = malloc(size + 1);

	check(text != NULL);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (ts_url_parse(text, schemes, &url, NULL) == TS_OK) {
		check_text(url.host, true);
		check_text(url.path, true);
		check_text(url.query, true);
		check(url.path[0] == '/');
		check_again(&url);
		if (url.host[0])
			check_guard(&url);
	}
	check(ts_url_parse("https://base.example/a/b?c", schemes, &base, NULL) == TS_OK);
	if (ts_url_join(&base, text, schemes, &joined, NULL) == TS_OK) {
		check_again(&joined);
		if (joined.host[0])
			check_guard(&joined);
	}
	free(text);
	return 0;
}
