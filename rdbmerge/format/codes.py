"""The numbers that the core and the code around it speak to each other with: errors, statuses, flags of a row.

The core's modules bind them to C integers at import; nobody else writes them out.
"""

from __future__ import annotations

# What a cursor found wrong; its `error_detail` is what the comment says.
TRUNCATED = 1  # bytes needed at error_pos
BAD_LENGTH = 2  # the byte that should have opened a length
BAD_STRING = 3  # the byte that should have opened a string
BAD_SCORE = 4  # the length byte of a score that is not a number
BAD_CONTAINER = 5  # the number of a list node's container
BAD_MODULE_OPCODE = 6  # the module opcode
BAD_LZF = 7  # the length an LZF string claims to unpack to
BAD_ARRAY_TAG = 8  # the tag of an array element
BAD_STREAM_ID = 9  # the length of a stream node's key
BAD_TEMPLATE = 10  # the id of a hash template that the file does not hold
UNKNOWN_TYPE = 20  # the type number
# Inside values. The detail is a packing (`values.Packing`) where nothing else is said.
BAD_PACK_SIZE = 30
BAD_PACK_ELEMENT = 31  # runs over the end
BAD_PACK_START = 32  # the byte that should have opened an element, plus 256 times the packing
BAD_PACK_END = 33
BAD_PACK_COUNT = 34
BAD_PACK_LINKS = 35  # what elements say of their neighbours' sizes
BAD_PACK_ORDER = 36
BAD_PACK_WIDTH = 37  # the width
ODD_ELEMENTS = 38  # not pairs (detail 2), not triples (3), no id of a template before them (1)
BAD_FIELD_TIME = 39
BAD_NUMBER = 40  # a score
NOT_UNPACKED = 41  # LZF
VALUE_GOES_ON = 42  # the bytes that are left
NO_MEMORY = 43  # the bytes that were asked for
BAD_STREAM_NODE = 44  # what in it: of the numbers below
REPEATED_ITEM = 45  # a member or field that stands twice; the logical type

# What is wrong with the listpack of a stream's node.
NODE_HEAD = 1  # the numbers at its beginning
NODE_ENTRY = 2  # the numbers of an entry
NODE_COUNT = 3  # another number of entries than it says
NODE_CUT = 4  # it ends inside an entry
META_OUT_OF_PLACE = 21  # key metadata that does not stand directly before the type

# What `Scanner.fill` stopped for.
FULL = 0  # the batch has as many rows as it can hold
RECORD = 1  # the position is on an opcode that is not an entry's
FAILED = 2  # the cursor's error says what and where

# Flags of a row.
KEY_ENCODED = 1  # the key is stored as an integer or LZF
EXPIRY_SECONDS = 2  # opcode 253: 4 bytes of seconds
HAS_IDLE = 4
HAS_FREQ = 8
IRREGULAR = 16  # attributes in another order than servers write, or an expiry below 0: written anew, never copied
EMPTY = 32  # a collection without elements, which no server keeps
HAS_META = 64  # key metadata (opcode 243 of Redis 8.6) directly before the type

# What a row needs whose hash has fields with expiries.
NO_FIELDS = 0  # another type: nothing
IN_PLACE = 1  # all fields alive, and the shift keeps every size
ANEW = 2  # to be decoded: compressed, damaged, or of another size after the shift
SOME_DEAD = 3  # fields to be left out: to be decoded
ALL_DEAD = 4  # the key is dead

# How a row is written.
COPIED = 0
SHIFTED = 1  # copied, and the expiries of its fields shifted in the copy
RECODED = 2  # the value in another form, by the core
ANEW = 3  # by `format.emit`

# What became of a key that a server was asked for (`_replies_cy`).
TAKEN = 0
GONE = 1  # there is no such key any more
REFUSED = 2  # the server answered with an error
DAMAGED = 3  # a dump whose stamp and checksum do not fit its bytes
WITH_META = 4  # a dump with key metadata before its type
# Instead of where a reply ends.
INCOMPLETE = -1  # its end has not come yet
GARBLED = -2  # it is none

# How RESTORE commands are written; more than one may hold.
ABSOLUTE = 1  # with ABSTTL
REPLACE = 2
HINTED = 4  # with IDLETIME or FREQ where the entry has one
ASKING = 8  # each behind ASKING: its slot is on its way to the server
DELETING = 16  # each behind a DEL of the key, for servers that do not know REPLACE

LAPSED = 2  # in the column of wanted rows: dead by now

NO_EXPIRY = -1  # in the column of expiries
# Expiries that are written stay between these: 0 and -1 mean other things to some servers, more would overflow.
FIRST_EXPIRY_MS = 1
LATEST_EXPIRY_MS = 1 << 62
LATEST_FIELD_EXPIRY_MS = (1 << 48) - 1  # of hash fields; Redis refuses more (rdb-format.md 6.2)
NO_HINT = -1  # in the column of idle seconds or LFU counters

# Opcodes (rdb-format.md 4).
OP_EOF = 255
OP_SELECTDB = 254
OP_EXPIRETIME = 253
OP_EXPIRETIME_MS = 252
OP_RESIZEDB = 251
OP_AUX = 250
OP_FREQ = 249
OP_IDLE = 248
OP_MODULE_AUX = 247
OP_FUNCTION_PRE_GA = 246
OP_FUNCTION2 = 245
OP_SLOT_INFO = 244
OP_KEY_META = 243  # Redis
OP_SLOT_IMPORT = 243  # Valkey
OP_HASH_TEMPLATE = 242  # Redis 8.10; Valkey 9.2 has another meaning

# LZF: three bytes can stand for at most 264, so an honest string never grows by more than this.
LZF_MOST_GROWTH = 88
