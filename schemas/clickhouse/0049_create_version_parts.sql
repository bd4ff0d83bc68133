-- What each version consists of: one row per slot and digest. A view over `composites`.
CREATE VIEW IF NOT EXISTS {database}.version_parts
SQL SECURITY INVOKER
AS SELECT
    project,
    composite_version,
    substring(composite_version, 1, 12) AS version,
    composite_name,
    concat(kind, '/', part) AS slot,
    kind,
    part AS name,
    digest,
    labels[concat(kind, '/', part)] AS label
FROM
(
    SELECT
        project,
        version AS composite_version,
        name AS composite_name,
        labels,
        component_kinds,
        component_names,
        component_digests
    FROM {database}.composites FINAL
)
ARRAY JOIN
    component_kinds AS kind,
    component_names AS part,
    component_digests AS digest
