"""Whether the storage can commit at this moment: found out by committing, never by asking how it was a while ago.

Status-Server on the accounting port asks that (RFC 5997 §4.1): a proxy sends its records to whoever answers. A lock
that another process holds, a full disk and a standby that only reads show themselves in a write alone.
"""

from __future__ import annotations

from controller.store.bulk import Bulk


def write(bulk: Bulk) -> None:
    """Write a row over with what it says already: nothing changes, and the commit goes all the way to the disk."""
    bulk.query(
        "UPDATE radius_nas SET enabled = enabled WHERE nas_id = (SELECT min(nas_id) FROM radius_nas) RETURNING nas_id"
    )
