-- Format 3. docs/store.md explains it.

-- A (deployment, epoch): one log of one backend.
CREATE TABLE remote (
    id INTEGER PRIMARY KEY,
    deployment TEXT NOT NULL,
    epoch TEXT NOT NULL,
    -- Higher for a remote that was used later.
    used INTEGER NOT NULL,
    UNIQUE (deployment, epoch)
) STRICT;

CREATE TABLE collection (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE document (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collection (id),
    name TEXT NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 128),
    -- The number of its rows in `chunk`.
    chunks INTEGER NOT NULL CHECK (chunks >= 0),
    -- The heads of its chunks: 32 bytes each.
    heads BLOB NOT NULL CHECK (length(heads) % 32 = 0),
    -- Its root map as JSON, and the SHA-256 of `heads` and `value` together. If that does not match, both are computed anew when read.
    value TEXT NOT NULL,
    value_heads BLOB,
    UNIQUE (collection, name)
) STRICT;

-- Finds the documents that are worth compacting without reading the others.
CREATE INDEX document_long ON document (chunks) WHERE chunks >= 64;

-- Changes, and snapshots of several. In the order of `id` dependencies come before dependents.
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES document (id),
    -- The collection of the document, for the index.
    collection INTEGER NOT NULL REFERENCES collection (id),
    -- Of the change; of a snapshot the SHA-256 of `bytes`.
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    -- 0: one change. 1: a snapshot.
    kind INTEGER NOT NULL CHECK (kind IN (0, 1)),
    -- The remote that was last known to have it. NULL: none.
    holder INTEGER REFERENCES remote (id),
    -- For a change made here: the root fields it touches, as a JSON array.
    fields TEXT,
    bytes BLOB NOT NULL,
    UNIQUE (document, hash)
) STRICT;

-- A chunk is unsent for a remote unless the remote is its holder. The index has a range per holder, in order of age, so the search never reads the chunks that the remote holds.
CREATE INDEX chunk_holder ON chunk (holder, collection, id, document);

-- The store has everything of a remote's log up to this position.
CREATE TABLE checkpoint (
    remote INTEGER NOT NULL REFERENCES remote (id),
    collection INTEGER NOT NULL REFERENCES collection (id),
    ts INTEGER NOT NULL,
    ordinal INTEGER NOT NULL CHECK (ordinal BETWEEN 0 AND 4294967295),
    -- The commit up to which the log was pruned while it was read from its beginning up to here. Not in format 1.
    pruned INTEGER,
    PRIMARY KEY (remote, collection)
) STRICT, WITHOUT ROWID;

-- Documents whose unsent changes a remote refuses. Not in formats 1 and 2.
CREATE TABLE refused (
    document INTEGER PRIMARY KEY REFERENCES document (id),
    remote INTEGER NOT NULL REFERENCES remote (id),
    -- When it refused them first, in milliseconds since 1970.
    since INTEGER NOT NULL,
    -- One of the codes of docs/wire.md.
    code TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
