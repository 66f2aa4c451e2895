// Which literal addresses are public: the registries of RFC 6890 and its successors. IPv4 by a list of what is
// not; IPv6 by what is (2000::/3), less its special parts. Forms that carry an IPv4 address are judged by it.
#include "net/netguard.h"

#include <arpa/inet.h>
#include <string.h>

struct block4 {
	uint32_t network;
	unsigned bits;
};

static const struct block4 special4[] = {
    {0x00000000, 8},  // this network
    {0x0a000000, 8},  // private
    {0x64400000, 10}, // shared (carrier-grade NAT)
    {0x7f000000, 8},  // loopback
    {0xa9fe0000, 16}, // link-local, cloud metadata
    {0xac100000, 12}, // private
    {0xc0000000, 24}, // IETF protocol assignments
    {0xc0000200, 24}, // documentation
    {0xc0586300, 24}, // 6to4 relay anycast
    {0xc0a80000, 16}, // private
    {0xc6120000, 15}, // benchmarking
    {0xc6336400, 24}, // documentation
    {0xcb007100, 24}, // documentation
    {0xe0000000, 4},  // multicast
    {0xf0000000, 4},  // reserved, limited broadcast
};

static bool is_public4(uint32_t address)
{
	for (size_t i = 0; i < sizeof special4 / sizeof *special4; i++)
		if ((address >> (32 - special4[i].bits)) == (special4[i].network >> (32 - special4[i].bits)))
			return false;
	return true;
}

static uint32_t load32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is_public6(const uint8_t *a)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

	if (memcmp(a, mapped, sizeof mapped) == 0 || memcmp(a, nat64, sizeof nat64) == 0)
		return is_public4(load32(a + 12));
	// Global unicast is 2000::/3. Everything else is special: ::, ::1, IPv4-compatible, 64:ff9b:1::/48,
	// 100::/64, 5f00::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8.
	if ((a[0] & 0xe0) != 0x20)
		return false;
	uint32_t high = load32(a);
	if (high >> 16 == 0x2002) // 6to4
		return is_public4(load32(a + 2));
	if (high >> 9 == 0x20010000u >> 9) // IETF protocol assignments, Teredo, ORCHID, benchmarking
		return false;
	if (high == 0x20010db8) // documentation
		return false;
	return high >> 12 != 0x3fff0000u >> 12; // documentation (RFC 9637)
}

bool ts_netguard_address_is_public(const struct sockaddr *address)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	if (address->sa_family == AF_INET) {
		memcpy(&in4, address, sizeof in4);
		return is_public4(ntohl(in4.sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6) {
		memcpy(&in6, address, sizeof in6);
		return is_public6(in6.sin6_addr.s6_addr);
	}
	return false;
}
