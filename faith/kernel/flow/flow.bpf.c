/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel path: TCP packets of known flows are translated between IPv6 and IPv4 at the ingress
 * of the interface they arrive on, and leave by the interface that their slot names.  The first SYN
 * of a flow is tagged and goes up the stack, where the host's own rules judge it and a rule hands
 * it to user space.  Whatever this program does not understand goes up the stack as it came:
 * fragments, IP options, VLAN tags, packets to other hosts; and, tagged for another such rule, IPv6
 * packets of flows in fragments, with extension headers, or to be fragmented.
 *
 * The maps are made by map_kinds.py and the structures are described in layout.py: a change here is
 * a change there.  scripts/build-flow makes the objects.  The maps are symbols that nothing
 * defines: the loader (flow_program.py) puts their descriptors in.
 *
 * Translation: RFC 7915; states: RFC 6146, section 3.5.2, as far as the kernel needs them.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#define INLINE static inline __attribute__((always_inline))
/* The compiler must not use what it knows of *value*. */
#define KEEP(value) asm volatile("" : "+r"(value))
#define SECTION(name) __attribute__((section(name), used))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NET16(number) __builtin_bswap16(number)
#define NET32(number) __builtin_bswap32(number)
#else
#define NET16(number) (number)
#define NET32(number) (number)
#endif

enum {
	UP = TC_ACT_UNSPEC, /* to the next program, then to the stack; TCX_NEXT is the same */
	DROP = TC_ACT_SHOT,
	LOOPBACK = 1, /* the index of lo in every network namespace */
	TAG_SYN = 0xFA170001,
	TAG_FALLEN = 0xFA170002,
	EXTENSIONS = 4, /* IPv6 extension headers that are looked through for a TCP header */
	PACKET = 144, /* octets of a packet in an event */
	TCP_LEAST = sizeof(struct tcphdr),
	TCP_CHECK = __builtin_offsetof(struct tcphdr, check),
	OPTIONS = 40, /* octets of TCP options, at most */
	OPTION_END = 0,
	OPTION_NOTHING = 1,
	OPTION_MSS = 2,
	/* RFC 7915, section 5.1: an IPv4 packet up to this size may be fragmented on its way,
	 * because IPv6 hosts need not send smaller ones */
	FRAGMENTABLE = 1260,
	/* Nothing that both ends could agree on is ahead of an acknowledgement by more. */
	WINDOW = 1 << 25,
	/* version 4, five words; the order of bit-fields would be that of the compiler's machine */
	PLAIN_IPV4 = 0x45,
	MORE_FRAGMENTS = 0x2000,
	DO_NOT_FRAGMENT = 0x4000,
	FRAGMENT_OFFSET = 0x1fff,
	FRAGMENT_OFFSET6 = 0xfff8,
	ICMP_ERROR = 8, /* octets before the packet that an ICMP error quotes */
	UNREACHABLE4 = 3, TIME_EXCEEDED4 = 11, PARAMETER_PROBLEM4 = 12,
	UNREACHABLE6 = 1, PARAMETER_PROBLEM6 = 4, /* and what lies between */
};

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };
enum { CLIENT, SERVER };

/* -- what user space shares (layout.py, map_kinds.py) ------------------------------------------ */

enum state {
	FIN6 = 1, FIN4 = 2, RST6 = 4, RST4 = 8,
	SYNACK = 16, CLOSED = 32, SUSPECT = 64, ESTABLISHED = 128,
};

enum kind { CLOSE = 1, ICMP4, ICMP6, TOO_BIG6, TOO_BIG4, HOPS6, HOPS4 };

enum counter {
	FORWARDED_V6, FORWARDED_V4, UPCALLS, LIMITED_CLIENT, LIMITED_TOTAL, UNATTENDED, RING_FULL,
	ICMP, ICMP_LIMITED, TOO_BIG, HOP_LIMIT, FRAGMENTS, SUSPECTED, FAILED,
	COUNTERS = 16,
};

/* Of the packets that arrived from one side. */
struct side {
	__u32 next, acked; /* sequence number after the highest octet; last acknowledgement */
	__u64 last, packets, octets;
};

/* Addresses and ports are in network order, numbers in that of the machine. */
struct flow {
	__u32 client[4], mapped[4];
	__u32 source, server;
	__u16 source_port, client_port, server_port, unused;
	__u32 oif4, oif6;
	__u32 sum64, sum46;
	__u16 mtu4, mtu6, mss4, mss6;
	__u32 state, generation;
	__u64 started;
	struct side sides[2];
	__u64 spare;
};

struct bucket {
	__u64 interval, burst, arrival;
};

struct settings {
	__u64 layout;
	__u64 alive; /* until then somebody attends to SYNs */
	__u64 client_interval, client_burst;
	struct bucket all, events;
	__u32 mask[4]; /* what of a source address makes a client */
};

struct key6 {
	__u32 client[4], mapped[4];
	__u16 client_port, server_port;
};

struct key4 {
	__u32 server, source;
	__u16 server_port, source_port;
};

struct prefix_key {
	__u32 length, address[4];
};

struct event {
	__u32 kind, interface, slot, generation, argument, length;
	__u8 packet[PACKET];
};
#define EVENT_WITHOUT_PACKET __builtin_offsetof(struct event, packet)

extern char flows6, flows4, slots, settings, clients, prefixes, ports, ring, counters;

/* -- the kernel's functions, by their numbers in linux/bpf.h ----------------------------------- */

#define HELPER(number) = (void *)(number)
static void *(*const lookup)(const void *map, const void *key) HELPER(1);
static long (*const update)(const void *map, const void *key, const void *value, __u64 flags)
	HELPER(2);
static long (*const forget)(const void *map, const void *key) HELPER(3);
static __u64 (*const monotonic_ns)(void) HELPER(5);
static __u32 (*const random_number)(void) HELPER(7);
static __u32 (*const this_cpu)(void) HELPER(8);
static long (*const store_octets)(struct __sk_buff *skb, __u32 at, const void *from, __u32 length,
				  __u64 flags) HELPER(9);
static long (*const replace_checksum)(struct __sk_buff *skb, __u32 at, __u64 from, __u64 to,
				      __u64 flags) HELPER(11);
static long (*const load_octets)(const struct __sk_buff *skb, __u32 at, void *to, __u32 length)
	HELPER(26);
static long (*const change_protocol)(struct __sk_buff *skb, __u16 protocol, __u64 flags)
	HELPER(31);
static long (*const pull)(struct __sk_buff *skb, __u32 length) HELPER(39);
static long (*const change_head)(struct __sk_buff *skb, __u32 octets, __u64 flags) HELPER(43);
static void *(*const reserve)(const void *ring, __u64 length, __u64 flags) HELPER(131);
static void (*const submit)(void *record, __u64 flags) HELPER(132);
static long (*const redirect_to_neighbour)(__u32 interface, const void *next_hop, int length,
					   __u64 flags) HELPER(152);

/* -- small things ------------------------------------------------------------------------------ */

/* A program of a CPU is interrupted by none of the same row: no atomic addition is needed.  In C,
 * two of them would become one with a variable place, which takes CAP_PERFMON. */
INLINE void count(__u64 *row, const enum counter which)
{
	__u64 number;

	asm volatile("%[number] = *(u64 *)(%[row] + %[at])\n\t"
		     "%[number] += 1\n\t"
		     "*(u64 *)(%[row] + %[at]) = %[number]"
		     : [number] "=&r"(number)
		     : [row] "r"(row), [at] "i"(which * sizeof(*row))
		     : "memory");
}

/* Whether the packet has so many octets, the first of which *first* is then: they can be read in
 * memory.  A pointer that is compared with 0 takes CAP_PERFMON, unless it is a map's. */
INLINE int readable(struct __sk_buff *skb, __u32 octets, void **first)
{
	void *data, *end;

	KEEP(skb); /* the verifier knows the end as what was read for it, not as a number */
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + octets > end) {
		if (pull(skb, octets))
			return 0;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		if (data + octets > end)
			return 0;
	}
	*first = data;
	return 1;
}

INLINE void copy_address(__u32 *to, const void *from)
{
	__builtin_memcpy(to, from, 16);
}

/* Whether one more is within the limit: GCRA, a leaky bucket in one word.  *arrival* is the time by
 * which all admitted so far are paid for.  Of two CPUs at once one may admit for free. */
INLINE int admitted(__u64 *arrival, __u64 interval, __u64 burst, __u64 now)
{
	__u64 seen = *(volatile __u64 *)arrival;
	__u64 due = seen > now ? seen : now;

	if (!interval)
		return 1;
	if (due - now > burst)
		return 0;
	__sync_val_compare_and_swap(arrival, seen, due + interval);
	return 1;
}

/* -- events ------------------------------------------------------------------------------------ */

INLINE void fill(struct event *event, struct __sk_buff *skb, enum kind kind, __u32 slot,
		 const struct flow *flow, __u32 argument)
{
	event->kind = kind;
	event->interface = skb->ifindex;
	event->slot = slot;
	event->generation = flow->generation;
	event->argument = argument;
	event->length = 0;
}

INLINE void report_close(struct __sk_buff *skb, __u32 slot, const struct flow *flow, __u32 state,
			 __u64 *row)
{
	struct event *event = reserve(&ring, EVENT_WITHOUT_PACKET, 0);

	if (!event) {
		count(row, RING_FULL);
		return;
	}
	fill(event, skb, CLOSE, slot, flow, state);
	submit(event, 0);
}

/* The nearest number from 1 to PACKET.  In one register, and by comparisons with more or less: the
 * verifier of Linux 6.1 does not know what a copy of 32 bits has in common with its source, nor the
 * least number that is not 0. */
INLINE __u32 packet_octets(__u64 length)
{
	asm volatile("if %[length] > 0 goto +1\n\t"
		     "%[length] = 1\n\t"
		     "if %[length] < %[most] goto +1\n\t"
		     "%[length] = %[most]"
		     : [length] "+r"(length)
		     : [most] "i"(PACKET));
	return length;
}

/* Reports the packet, from its IP header on, unless too many were reported lately. */
INLINE void report_packet(struct __sk_buff *skb, __u32 link, enum kind kind, __u32 slot,
			  const struct flow *flow, __u32 argument, __u64 *row)
{
	__u32 zero = 0, length = skb->len - link;
	struct settings *set = lookup(&settings, &zero);
	struct event *event;

	if (!set)
		return;
	if (!admitted(&set->events.arrival, set->events.interval, set->events.burst,
		      monotonic_ns())) {
		count(row, ICMP_LIMITED);
		return;
	}
	event = reserve(&ring, sizeof(*event), 0);
	if (!event) {
		count(row, RING_FULL);
		return;
	}
	fill(event, skb, kind, slot, flow, argument);
	length = packet_octets(length);
	if (!load_octets(skb, link, event->packet, length))
		event->length = length;
	submit(event, 0);
}

/* -- the state of a flow ----------------------------------------------------------------------- */

struct segment {
	__u32 sequence, acknowledged;
	__u32 header, payload; /* octets */
	__u8 flags;
};

/* Reads a TCP header; *length* octets follow the IP header.  False if it is malformed. */
INLINE int parse(struct segment *segment, const struct tcphdr *tcp, __u32 length)
{
	segment->sequence = NET32(tcp->seq);
	segment->acknowledged = NET32(tcp->ack_seq);
	segment->flags = ((const __u8 *)tcp)[13];
	segment->header = (((const __u8 *)tcp)[12] >> 4) * 4;
	segment->payload = length - segment->header;
	return segment->header >= TCP_LEAST && segment->header <= length;
}

/* Whether an RST surely comes from its sender: between what the other end has acknowledged and what
 * this one has sent; or, before the server has answered, to the SYN.  A client's RST before that
 * answers a challenge acknowledgement (RFC 5961), and its SYN comes again. */
INLINE int is_reset(const struct flow *flow, int from, const struct segment *segment, __u32 state)
{
	const struct side *own = &flow->sides[from], *other = &flow->sides[!from];

	if (state & SYNACK)
		return (__s32)(segment->sequence - other->acked) >= 0 &&
		       (__s32)(own->next - segment->sequence) >= 0;
	return from == SERVER && segment->flags & ACK && segment->acknowledged == other->next;
}

/* Which bits the packet sets in the state. */
INLINE __u32 new_bits(const struct flow *flow, int from, const struct segment *segment, __u32 state)
{
	__u8 flags = segment->flags;
	__u32 bits = 0;

	if (flags & RST)
		return is_reset(flow, from, segment, state) ? CLOSED | (from ? RST4 : RST6) :
							      SUSPECT;
	if (flags & FIN)
		bits |= from ? FIN4 : FIN6;
	/* the answer, or both have opened at once (RFC 6146, section 3.5.2.2, V6 INIT) */
	if (from == SERVER && flags & SYN)
		bits |= SYNACK;
	if (from == CLIENT && state & SYNACK && !(flags & SYN))
		bits |= ESTABLISHED;
	return bits;
}

/* Remembers what was sent and acknowledged, as far as it can be true: a forged packet must not make
 * a forged RST a valid one. */
INLINE void follow_numbers(struct flow *flow, int from, const struct segment *segment, __u32 state)
{
	struct side *own = &flow->sides[from], *other = &flow->sides[!from];
	__u32 end = segment->sequence + segment->payload + !!(segment->flags & SYN) +
		    !!(segment->flags & FIN);

	if (segment->flags & RST)
		return;
	if (segment->flags & SYN && !(state & SYNACK)) {
		own->next = end;
		if (from == SERVER) {
			/* without ACK it acknowledges nothing yet */
			own->acked = segment->flags & ACK ? segment->acknowledged : other->next;
			other->acked = end;
		}
		return;
	}
	if ((__s32)(end - own->next) > 0 && end - other->acked <= WINDOW)
		own->next = end;
	if (segment->flags & ACK && (__s32)(segment->acknowledged - own->acked) > 0 &&
	    (__s32)(other->next - segment->acknowledged) >= 0)
		own->acked = segment->acknowledged;
}

/* Follows a packet that is translated.  Both directions may be here at once, on two CPUs: the state
 * changes by atomic operations, everything else belongs to one of them. */
INLINE void follow(struct __sk_buff *skb, struct flow *flow, __u32 slot, int from,
		   const struct segment *segment, __u64 *row)
{
	struct side *own = &flow->sides[from];
	__u32 state = *(volatile __u32 *)&flow->state;
	__u32 bits = new_bits(flow, from, segment, state);

	if (bits & SUSPECT)
		count(row, SUSPECTED);
	else if (state & SUSPECT)
		__sync_fetch_and_and(&flow->state, ~SUSPECT);
	follow_numbers(flow, from, segment, state);
	if ((state & bits) != bits) {
		__u32 before = __sync_fetch_and_or(&flow->state, bits);
		__u32 after = before | bits;

		/* whoever sees both FINs first closes */
		if ((after & (FIN6 | FIN4)) == (FIN6 | FIN4) && !(after & CLOSED)) {
			before = __sync_fetch_and_or(&flow->state, CLOSED);
			after |= CLOSED;
		}
		if (after & CLOSED && !(before & CLOSED))
			report_close(skb, slot, flow, after, row);
	}
	own->last = monotonic_ns();
	/* the packets of one direction may come by several CPUs */
	__sync_fetch_and_add(&own->packets, 1);
	__sync_fetch_and_add(&own->octets, segment->payload);
}

/* -- the MSS ----------------------------------------------------------------------------------- */

/* Makes the MSS that a SYN announces no greater than *most* (0: any), and keeps its checksum as
 * right or wrong as it was.  *at* is the offset of the TCP header, which has *length* octets. */
INLINE void clamp_mss(struct __sk_buff *skb, __u32 at, __u32 length, __u16 most)
{
	__u8 option[4];
	__u32 end = length - TCP_LEAST, place = 0;
	__u16 before, after;

	if (!most)
		return;
#pragma clang loop unroll(disable)
	for (int step = 0; step < OPTIONS; step++) {
		if (place + sizeof(option) > end ||
		    load_octets(skb, at + TCP_LEAST + place, option, sizeof(option)) ||
		    option[0] == OPTION_END)
			return;
		if (option[0] == OPTION_MSS && option[1] == sizeof(option))
			goto found;
		if (option[0] == OPTION_NOTHING)
			place++;
		else if (option[1] < 2)
			return;
		else
			place += option[1];
		/* Whichever way it came here, the verifier knows the same, and goes on once. */
		place &= 63;
		KEEP(place);
	}
	return;
found:
	before = option[2] << 8 | option[3];
	if (before <= most)
		return;
	after = NET16(most);
	before = NET16(before);
	store_octets(skb, at + TCP_LEAST + place + 2, &after, 2, 0);
	if (place & 1) { /* its octets lie in two words of the sum */
		before = __builtin_bswap16(before);
		after = __builtin_bswap16(after);
	}
	replace_checksum(skb, at + TCP_CHECK, before, after, 2);
}

/* -- first packets ----------------------------------------------------------------------------- */

INLINE int is_served(const struct key6 *key)
{
	struct prefix_key prefix = { .length = 128 };
	__u32 port = NET16(key->server_port), word = port / 64;
	__u64 *served;

	copy_address(prefix.address, key->mapped);
	if (!lookup(&prefixes, &prefix))
		return 0;
	served = lookup(&ports, &word);
	return served && *served >> (port % 64) & 1;
}

INLINE int client_admitted(const struct settings *set, const struct key6 *key, __u64 now)
{
	__u64 first = now + set->client_interval, *arrival;
	__u32 client[4];

	if (!set->client_interval)
		return 1;
	for (int word = 0; word < 4; word++)
		client[word] = key->client[word] & set->mask[word];
	arrival = lookup(&clients, client);
	if (arrival)
		return admitted(arrival, set->client_interval, set->client_burst, now);
	update(&clients, client, &first, BPF_ANY);
	return 1;
}

/* A SYN that no flow has: tags it for the rule that hands it to user space.  The gateway's own
 * clients, on lo, are the relay's; so is everything while nobody attends. */
INLINE int first_packet(struct __sk_buff *skb, const struct key6 *key, __u64 *row)
{
	__u32 zero = 0;
	__u64 now = monotonic_ns();
	struct settings *set;

	/* of a bond or a bridge, the port has tagged it */
	if (skb->priority == TAG_SYN || skb->ifindex == LOOPBACK || !is_served(key))
		return UP;
	set = lookup(&settings, &zero);
	if (!set)
		return UP;
	if (set->alive < now) {
		count(row, UNATTENDED);
		return UP;
	}
	if (!client_admitted(set, key, now)) {
		count(row, LIMITED_CLIENT);
		return DROP;
	}
	if (!admitted(&set->all.arrival, set->all.interval, set->all.burst, now)) {
		count(row, LIMITED_TOTAL);
		return DROP;
	}
	count(row, UPCALLS);
	skb->priority = TAG_SYN;
	return UP;
}

/* -- ICMP errors about packets of flows -------------------------------------------------------- */

INLINE int icmpv6_error(struct __sk_buff *skb, __u32 link, __u64 *row)
{
	__u32 at = link + sizeof(struct ipv6hdr), slot, *found;
	struct { __u8 type, rest[ICMP_ERROR - 1]; struct ipv6hdr ip; __u16 next[4]; } error;
	struct key6 key;
	struct flow *flow;

	if (load_octets(skb, at, &error, sizeof(error)))
		return UP;
	if (error.type < UNREACHABLE6 || error.type > PARAMETER_PROBLEM6)
		return UP;
	if (error.ip.nexthdr == IPPROTO_FRAGMENT) {
		/* of user space's making; a later one has no ports */
		if (*(__u8 *)error.next != IPPROTO_TCP || error.next[1] & NET16(FRAGMENT_OFFSET6) ||
		    load_octets(skb, at + sizeof(error), error.next, sizeof(__u32)))
			return UP;
	} else if (error.ip.nexthdr != IPPROTO_TCP) {
		return UP;
	}
	/* it quotes a packet that went to the client */
	copy_address(key.client, &error.ip.daddr);
	copy_address(key.mapped, &error.ip.saddr);
	key.client_port = error.next[1];
	key.server_port = error.next[0];
	found = lookup(&flows6, &key);
	if (!found)
		return UP;
	slot = *found;
	flow = lookup(&slots, &slot);
	if (!flow)
		return UP;
	count(row, ICMP);
	report_packet(skb, link, ICMP6, slot, flow, 0, row);
	return DROP;
}

INLINE int icmpv4_error(struct __sk_buff *skb, __u32 link, __u64 *row)
{
	__u32 at = link + sizeof(struct iphdr), slot, *found;
	struct { __u8 type, rest[ICMP_ERROR - 1]; struct iphdr ip; __u16 ports[2]; } error;
	struct key4 key;
	struct flow *flow;

	if (load_octets(skb, at, &error, sizeof(error)))
		return UP;
	if (error.type != UNREACHABLE4 && error.type != TIME_EXCEEDED4 &&
	    error.type != PARAMETER_PROBLEM4)
		return UP;
	/* a later fragment has no ports */
	if (error.ip.protocol != IPPROTO_TCP || *(__u8 *)&error.ip != PLAIN_IPV4 ||
	    error.ip.frag_off & NET16(FRAGMENT_OFFSET))
		return UP;
	/* it quotes a packet that went to the server */
	key.server = error.ip.daddr;
	key.source = error.ip.saddr;
	key.server_port = error.ports[1];
	key.source_port = error.ports[0];
	found = lookup(&flows4, &key);
	if (!found)
		return UP;
	slot = *found;
	flow = lookup(&slots, &slot);
	if (!flow)
		return UP;
	count(row, ICMP);
	report_packet(skb, link, ICMP4, slot, flow, 0, row);
	return DROP;
}

/* Sends a translated packet by *interface*, whatever link header that needs. */
INLINE int send_by(struct __sk_buff *skb, __u32 link, __u32 interface, enum counter which,
		   __u64 *row)
{
	/* the kernel takes away an Ethernet header, and drops what has no header */
	if (!link && change_head(skb, ETH_HLEN, 0)) {
		count(row, FAILED);
		return DROP;
	}
	count(row, which);
	return redirect_to_neighbour(interface, 0, 0, 0);
}

/* -- from IPv6 to IPv4 ------------------------------------------------------------------------- */

/* Rewrites a port and the checksum.  The rest of the pseudo header changes by a known sum. */
INLINE void rewrite_tcp(struct __sk_buff *skb, __u32 at, __u32 port_at, __u16 before,
			const __u16 *port, __u32 sum)
{
	store_octets(skb, at + port_at, port, sizeof(*port), 0);
	replace_checksum(skb, at + TCP_CHECK, before, *port, sizeof(*port));
	replace_checksum(skb, at + TCP_CHECK, 0, sum, BPF_F_PSEUDO_HDR);
}

INLINE __u16 header_checksum(const struct iphdr *ip)
{
	const __u32 *words = (const void *)ip;
	__u64 sum = 0;

	for (int word = 0; word < 5; word++)
		sum += words[word];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Puts an IPv4 header in the place of the IPv6 header.  *length* octets follow it, *packet* is the
 * size of the packet on the way: smaller, if this is to be cut into segments. */
INLINE int write_ipv4(struct __sk_buff *skb, __u32 link, const struct flow *flow, __u32 length,
		      __u32 packet, __u8 hops, __u8 tos)
{
	int whole = packet > FRAGMENTABLE;
	struct iphdr ip = {
		.tos = tos,
		.tot_len = NET16(length + sizeof(ip)),
		.id = whole ? 0 : random_number(),
		.frag_off = whole ? NET16(DO_NOT_FRAGMENT) : 0,
		.ttl = hops,
		.protocol = IPPROTO_TCP,
		.saddr = flow->source,
		.daddr = flow->server,
	};
	void *data, *end;

	*(__u8 *)&ip = PLAIN_IPV4;
	ip.check = header_checksum(&ip);
	if (change_protocol(skb, NET16(ETH_P_IP), 0))
		return 0;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + link + sizeof(ip) > end)
		return 0;
	if (link)
		((struct ethhdr *)data)->h_proto = NET16(ETH_P_IP);
	__builtin_memcpy(data + link, &ip, sizeof(ip));
	return 1;
}

/* Leaves a packet of a flow to user space: it goes up the stack, and a rule knows its tag.  While
 * nobody attends there may be no such rule, and the stack would answer with a reset. */
INLINE int fallen(struct __sk_buff *skb, __u64 *row)
{
	__u32 zero = 0;
	struct settings *set = lookup(&settings, &zero);

	count(row, FRAGMENTS);
	if (!set || set->alive < monotonic_ns())
		return DROP;
	skb->priority = TAG_FALLEN;
	return UP;
}

/* Whether a packet with extension headers is of a flow.  Of fragments it is the first, whose tag is
 * that of the packet which the stack puts together. */
INLINE int is_extended(struct __sk_buff *skb, const struct ipv6hdr *ip, __u32 link)
{
	__u32 at = link + sizeof(*ip);
	__u8 next = ip->nexthdr, header[4];
	struct key6 key;
	__u16 tcp[2];

	copy_address(key.client, &ip->saddr);
	copy_address(key.mapped, &ip->daddr);
	for (int step = 0; step < EXTENSIONS && next != IPPROTO_TCP; step++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_ROUTING && next != IPPROTO_FRAGMENT)
			return 0;
		if (load_octets(skb, at, header, sizeof(header)))
			return 0;
		if (next != IPPROTO_FRAGMENT)
			at += (header[1] + 1) * 8;
		else if (header[2] || header[3] & ~7)
			return 0; /* a later fragment */
		else
			at += 8;
		next = header[0];
	}
	if (next != IPPROTO_TCP || load_octets(skb, at, tcp, sizeof(tcp)))
		return 0;
	key.client_port = tcp[0];
	key.server_port = tcp[1];
	return lookup(&flows6, &key) != 0;
}

INLINE int from_ipv6(struct __sk_buff *skb, const __u32 link, __u64 *row)
{
	const __u32 at = link + sizeof(struct ipv6hdr);
	struct ipv6hdr *ip;
	void *first;
	struct segment segment;
	struct flow *flow = 0;
	struct key6 key;
	__u32 slot = 0, *found, length, packet, mtu = 0;
	enum kind kind = 0;
	__u8 hops, tos;

	if (!readable(skb, at, &first))
		return UP;
	ip = first + link;
	if (ip->nexthdr == IPPROTO_ICMPV6)
		return icmpv6_error(skb, link, row);
	if (ip->nexthdr != IPPROTO_TCP) {
		if (is_extended(skb, ip, link))
			goto user_space;
		return UP;
	}
	if (!readable(skb, at + TCP_LEAST, &first))
		return UP;
	ip = first + link;
	length = NET16(ip->payload_len); /* 0 in what is longer than 65535 */
	if (length > skb->len - at || !parse(&segment, (void *)(ip + 1), length))
		return UP;
	copy_address(key.client, &ip->saddr);
	copy_address(key.mapped, &ip->daddr);
	key.client_port = ((struct tcphdr *)(ip + 1))->source;
	key.server_port = ((struct tcphdr *)(ip + 1))->dest;
	hops = ip->hop_limit;
	tos = NET16(*(__u16 *)ip) >> 4;

	found = lookup(&flows6, &key);
	if (found) {
		slot = *found;
		flow = lookup(&slots, &slot);
	}
	if ((segment.flags & (SYN | ACK | RST)) == SYN && (!flow || flow->state & CLOSED)) {
		int verdict = first_packet(skb, &key, row);

		/* what follows a SYN that is left to the relay is not the closed flow's */
		if (flow && verdict == UP && skb->priority != TAG_SYN)
			forget(&flows6, &key);
		return verdict;
	}
	if (!flow || length + sizeof(struct iphdr) > 0xffff)
		return UP;
	packet = sizeof(struct iphdr);
	packet += skb->gso_size ? skb->gso_size + segment.header : length;
	if (hops <= 1) {
		count(row, HOP_LIMIT);
		kind = HOPS6;
	} else if (packet > flow->mtu4) {
		if (packet <= FRAGMENTABLE)
			goto user_space; /* it is fragmented there */
		count(row, TOO_BIG);
		kind = TOO_BIG6;
		mtu = flow->mtu4;
	}
	if (kind) {
		report_packet(skb, link, kind, slot, flow, mtu, row);
		return DROP;
	}
	follow(skb, flow, slot, CLIENT, &segment, row);
	if (segment.flags & SYN)
		clamp_mss(skb, at, segment.header, flow->mss4);
	rewrite_tcp(skb, at, __builtin_offsetof(struct tcphdr, source), flow->client_port,
		    &flow->source_port, flow->sum64);
	if (!flow->oif4 || !write_ipv4(skb, link, flow, length, packet, hops - 1, tos)) {
		count(row, FAILED);
		return DROP;
	}
	return send_by(skb, link, flow->oif4, FORWARDED_V6, row);
user_space:
	return fallen(skb, row);
}

/* -- from IPv4 to IPv6 ------------------------------------------------------------------------- */

INLINE int write_ipv6(struct __sk_buff *skb, __u32 link, const struct flow *flow, __u32 length,
		      __u8 hops, __u8 tos)
{
	void *data, *end;
	__u32 *words;

	if (change_protocol(skb, NET16(ETH_P_IPV6), 0))
		return 0;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + link + sizeof(struct ipv6hdr) > end)
		return 0;
	if (link)
		((struct ethhdr *)data)->h_proto = NET16(ETH_P_IPV6);
	words = data + link;
	words[0] = NET32(6U << 28 | (__u32)tos << 20);
	words[1] = NET32(length << 16 | IPPROTO_TCP << 8 | hops);
	copy_address(words + 2, flow->mapped);
	copy_address(words + 6, flow->client);
	return 1;
}

INLINE int from_ipv4(struct __sk_buff *skb, const __u32 link, __u64 *row)
{
	const __u32 at = link + sizeof(struct iphdr);
	struct iphdr *ip;
	void *first;
	struct segment segment;
	struct flow *flow;
	struct key4 key;
	__u32 slot, *found, length, packet, mtu = 0;
	enum kind kind = 0;
	__u16 fragment;
	__u8 hops, tos;

	if (!readable(skb, at, &first))
		return UP;
	ip = first + link;
	fragment = NET16(ip->frag_off);
	if (*(__u8 *)ip != PLAIN_IPV4 || fragment & FRAGMENT_OFFSET)
		return UP; /* options, or without a TCP header */
	if (ip->protocol == IPPROTO_ICMP && !(fragment & MORE_FRAGMENTS))
		return icmpv4_error(skb, link, row);
	if (ip->protocol != IPPROTO_TCP)
		return UP;
	if (!readable(skb, at + TCP_LEAST, &first))
		return UP;
	ip = first + link;
	length = NET16(ip->tot_len) - sizeof(*ip);
	if (length > skb->len - at || !parse(&segment, (void *)(ip + 1), length))
		return UP;
	key.server = ip->saddr;
	key.source = ip->daddr;
	key.server_port = ((struct tcphdr *)(ip + 1))->source;
	key.source_port = ((struct tcphdr *)(ip + 1))->dest;
	hops = ip->ttl;
	tos = ip->tos;

	found = lookup(&flows4, &key);
	if (!found)
		return UP;
	slot = *found;
	flow = lookup(&slots, &slot);
	if (!flow || header_checksum(ip)) /* 0 of a header with its checksum */
		return UP;
	packet = sizeof(struct ipv6hdr);
	packet += skb->gso_size ? skb->gso_size + segment.header : length;
	/* the stack puts fragments together; user space translates these, and what may be cut */
	if (fragment & MORE_FRAGMENTS || (packet > flow->mtu6 && !(fragment & DO_NOT_FRAGMENT))) {
		count(row, FRAGMENTS);
		return UP;
	}
	if (hops <= 1) {
		count(row, HOP_LIMIT);
		kind = HOPS4;
	} else if (packet > flow->mtu6) {
		count(row, TOO_BIG);
		kind = TOO_BIG4;
		mtu = flow->mtu6;
	}
	if (kind) {
		report_packet(skb, link, kind, slot, flow, mtu, row);
		return DROP;
	}
	follow(skb, flow, slot, SERVER, &segment, row);
	if (segment.flags & SYN)
		clamp_mss(skb, at, segment.header, flow->mss6);
	rewrite_tcp(skb, at, __builtin_offsetof(struct tcphdr, dest), flow->source_port,
		    &flow->client_port, flow->sum46);
	if (!flow->oif6 || !write_ipv6(skb, link, flow, length, hops - 1, tos)) {
		count(row, FAILED);
		return DROP;
	}
	return send_by(skb, link, flow->oif6, FORWARDED_V4, row);
}

/* -- the programs: for interfaces with an Ethernet header, and for those without --------------- */

INLINE int translate(struct __sk_buff *skb, const __u32 link)
{
	__u32 cpu = this_cpu();
	__u64 *row;

	/* a tag belongs to a VLAN interface above this one */
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return UP;
	row = lookup(&counters, &cpu);
	if (!row)
		return UP;
	if (skb->protocol == NET16(ETH_P_IPV6))
		return from_ipv6(skb, link, row);
	if (skb->protocol == NET16(ETH_P_IP))
		return from_ipv4(skb, link, row);
	return UP;
}

SECTION("ethernet") int flow_ethernet(struct __sk_buff *skb)
{
	return translate(skb, ETH_HLEN);
}

SECTION("layer3") int flow_layer3(struct __sk_buff *skb)
{
	return translate(skb, 0);
}
