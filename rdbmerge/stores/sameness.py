"""Whether an object that lies there already is the file that is to be uploaded, byte for byte as checksums can tell.

Reads the file and compares; makes no call. Every doubt means no.
"""

from __future__ import annotations

import threading

from rdbmerge.stores.objects import StoredObject
from rdbmerge.stores.parts import PartFile, Progress, cut, part_size_bytes
from rdbmerge.stores.sums import Algorithm, PartSums, md5_of_etag, whole_checksum, whole_crc64, whole_etag


def crc64_if_same(
    stored: StoredObject, file: PartFile, part_bytes: int | None, *, stop: threading.Event, progress: Progress | None
) -> int | None:
    """The CRC-64 of the file if the object holds the same bytes, else None.

    Where the store tells no checksum of the whole, the ETag has to be the one that this part size makes.
    Raises StoppedError, and StoreError for a file that changes.
    """
    if stored.size_bytes != file.size_bytes:
        return None
    told = stored.checksums if stored.of_whole else {}
    algorithm = next((each for each in Algorithm if told.get(each.value)), Algorithm.NONE)
    with_md5 = algorithm is Algorithm.NONE
    # An ETag without a number of parts is the MD5 of the whole, as one part would have it.
    one_part = with_md5 and bool(md5_of_etag(stored.etag))
    part_bytes = file.size_bytes if one_part else part_size_bytes(file.size_bytes, part_bytes)
    sums: list[PartSums] = []
    for part in cut(file.size_bytes, part_bytes):
        sums.append(file.summed(part, algorithm, with_md5=with_md5, stop=stop))
        if progress:
            progress(part.size_bytes)
    file.check_unchanged()
    if one_part:
        same = md5_of_etag(stored.etag) == sums[0].md5
    elif with_md5:
        same = stored.etag == whole_etag([each.md5 for each in sums])
    else:
        same = stored.checksums[algorithm.value] == whole_checksum(algorithm, sums)
    return whole_crc64(sums) if same else None
