# XXH3 of up to 240 bytes with a seed, for the compiled core: Cython has no 128-bit product, so this much is C.
# Interpreted, the same numbers come from the library `xxhash` (xxh3_64_intdigest); the tests hold the two equal.
cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static const unsigned char rdbm_secret[192] = {
        0xb8,0xfe,0x6c,0x39,0x23,0xa4,0x4b,0xbe,0x7c,0x01,0x81,0x2c,0xf7,0x21,0xad,0x1c,
        0xde,0xd4,0x6d,0xe9,0x83,0x90,0x97,0xdb,0x72,0x40,0xa4,0xa4,0xb7,0xb3,0x67,0x1f,
        0xcb,0x79,0xe6,0x4e,0xcc,0xc0,0xe5,0x78,0x82,0x5a,0xd0,0x7d,0xcc,0xff,0x72,0x21,
        0xb8,0x08,0x46,0x74,0xf7,0x43,0x24,0x8e,0xe0,0x35,0x90,0xe6,0x81,0x3a,0x26,0x4c,
        0x3c,0x28,0x52,0xbb,0x91,0xc3,0x00,0xcb,0x88,0xd0,0x65,0x8b,0x1b,0x53,0x2e,0xa3,
        0x71,0x64,0x48,0x97,0xa2,0x0d,0xf9,0x4e,0x38,0x19,0xef,0x46,0xa9,0xde,0xac,0xd8,
        0xa8,0xfa,0x76,0x3f,0xe3,0x9c,0x34,0x3f,0xf9,0xdc,0xbb,0xc7,0xc7,0x0b,0x4f,0x1d,
        0x8a,0x51,0xe0,0x4b,0xcd,0xb4,0x59,0x31,0xc8,0x9f,0x7e,0xc9,0xd9,0x78,0x73,0x64,
        0xea,0xc5,0xac,0x83,0x34,0xd3,0xeb,0xc3,0xc5,0x81,0xa0,0xff,0xfa,0x13,0x63,0xeb,
        0x17,0x0d,0xdd,0x51,0xb7,0xf0,0xda,0x49,0xd3,0x16,0x55,0x26,0x29,0xd4,0x68,0x9e,
        0x2b,0x16,0xbe,0x58,0x7d,0x47,0xa1,0xfc,0x8f,0xf8,0xb8,0xd1,0x7a,0xd0,0x31,0xce,
        0x45,0xcb,0x3a,0x8f,0x95,0x16,0x04,0x28,0xaf,0xd7,0xfb,0xca,0xbb,0x4b,0x40,0x7e,
    };

    static inline uint64_t rdbm_swap(uint64_t value, int bytes) {
        uint64_t out = 0;
        for (int i = 0; i < bytes; i++) out |= ((value >> (8 * i)) & 0xff) << (8 * (bytes - 1 - i));
        return out;
    }

    static inline uint64_t rdbm_le64(const unsigned char *p) {
        uint64_t value;
        memcpy(&value, p, 8);
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        value = rdbm_swap(value, 8);
    #endif
        return value;
    }

    static inline uint64_t rdbm_le32(const unsigned char *p) {
        uint32_t value;
        memcpy(&value, p, 4);
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        value = (uint32_t)rdbm_swap(value, 4);
    #endif
        return value;
    }

    static inline uint64_t rdbm_fold(uint64_t a, uint64_t b) {
    #ifdef __SIZEOF_INT128__
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    #else
        uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
        uint64_t low = al * bl, middle = ah * bl + (low >> 32), other = al * bh + (uint32_t)middle;
        return ((other << 32) | (uint32_t)low) ^ (ah * bh + (middle >> 32) + (other >> 32));
    #endif
    }

    static inline uint64_t rdbm_rotate(uint64_t value, int bits) { return (value << bits) | (value >> (64 - bits)); }

    static inline uint64_t rdbm_avalanche(uint64_t h) {
        h ^= h >> 37;
        h *= 0x165667919E3779F9ULL;
        return h ^ (h >> 32);
    }

    static inline uint64_t rdbm_avalanche64(uint64_t h) {
        h ^= h >> 33;
        h *= 0xC2B2AE3D27D4EB4FULL;
        h ^= h >> 29;
        h *= 0x165667B19E3779F9ULL;
        return h ^ (h >> 32);
    }

    static inline uint64_t rdbm_mix16(const unsigned char *p, const unsigned char *secret, uint64_t seed) {
        return rdbm_fold(rdbm_le64(p) ^ (rdbm_le64(secret) + seed), rdbm_le64(p + 8) ^ (rdbm_le64(secret + 8) - seed));
    }

    static inline uint64_t rdbm_xxh3_to_16(const unsigned char *p, int64_t size, uint64_t seed) {
        const unsigned char *s = rdbm_secret;
        if (size > 8) {
            uint64_t low = rdbm_le64(p) ^ ((rdbm_le64(s + 24) ^ rdbm_le64(s + 32)) + seed);
            uint64_t high = rdbm_le64(p + size - 8) ^ ((rdbm_le64(s + 40) ^ rdbm_le64(s + 48)) - seed);
            return rdbm_avalanche(size + rdbm_swap(low, 8) + high + rdbm_fold(low, high));
        }
        if (size >= 4) {
            seed ^= rdbm_swap((uint32_t)seed, 4) << 32;
            uint64_t input = rdbm_le32(p + size - 4) + (rdbm_le32(p) << 32);
            uint64_t h = input ^ ((rdbm_le64(s + 8) ^ rdbm_le64(s + 16)) - seed);
            h ^= rdbm_rotate(h, 49) ^ rdbm_rotate(h, 24);
            h *= 0x9FB21C651E98DF25ULL;
            h ^= (h >> 35) + size;
            h *= 0x9FB21C651E98DF25ULL;
            return h ^ (h >> 28);
        }
        if (size > 0) {
            uint64_t input = (uint64_t)p[0] << 16 | (uint64_t)p[size >> 1] << 24 | p[size - 1] | (uint64_t)size << 8;
            return rdbm_avalanche64(input ^ ((rdbm_le32(s) ^ rdbm_le32(s + 4)) + seed));
        }
        return rdbm_avalanche64(seed ^ (rdbm_le64(s + 56) ^ rdbm_le64(s + 64)));
    }

    /* size: 0 to 240 */
    static inline uint64_t rdbm_xxh3(const unsigned char *p, int64_t size, uint64_t seed) {
        const unsigned char *s = rdbm_secret;
        if (size <= 16) return rdbm_xxh3_to_16(p, size, seed);
        uint64_t acc = (uint64_t)size * 0x9E3779B185EBCA87ULL;
        if (size <= 128) {
            if (size > 96) acc += rdbm_mix16(p + 48, s + 96, seed) + rdbm_mix16(p + size - 64, s + 112, seed);
            if (size > 64) acc += rdbm_mix16(p + 32, s + 64, seed) + rdbm_mix16(p + size - 48, s + 80, seed);
            if (size > 32) acc += rdbm_mix16(p + 16, s + 32, seed) + rdbm_mix16(p + size - 32, s + 48, seed);
            acc += rdbm_mix16(p, s, seed) + rdbm_mix16(p + size - 16, s + 16, seed);
            return rdbm_avalanche(acc);
        }
        for (int i = 0; i < 8; i++) acc += rdbm_mix16(p + 16 * i, s + 16 * i, seed);
        acc = rdbm_avalanche(acc);
        for (int i = 8; i < size / 16; i++) acc += rdbm_mix16(p + 16 * i, s + 16 * (i - 8) + 3, seed);
        acc += rdbm_mix16(p + size - 16, s + 136 - 17, seed);
        return rdbm_avalanche(acc);
    }
    """
    unsigned long long rdbm_xxh3(const unsigned char *p, long long size, unsigned long long seed) noexcept nogil
