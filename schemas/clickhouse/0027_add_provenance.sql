-- Where the parts of a version come from: JSON text, lists of notes by slot ("kind/name"), else ''.
-- No part of the version, as its labels are none; the newest that says anything is shown.
ALTER TABLE {database}.composites
    ADD COLUMN IF NOT EXISTS provenance String CODEC(ZSTD(3)) AFTER labels
