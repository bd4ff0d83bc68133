-- What a version came to on a suite by a scorer in its newest whole run. A view over `eval_results`; an
-- example that was asked several times counts once, with the mean of its scores.
CREATE VIEW IF NOT EXISTS {database}.eval_latest
SQL SECURITY INVOKER
AS SELECT
    project,
    suite,
    scorer,
    composite_version,
    substring(composite_version, 1, 12) AS version,
    newest.1 AS run,
    newest.2 AS examples,
    newest.3 AS scored,
    newest.4 AS mean,
    newest.5 AS deviation,
    recorded_at,
    runs
FROM
(
    SELECT
        project,
        suite,
        scorer,
        composite AS composite_version,
        argMax((run, examples, scored, mean, deviation), (recorded, run)) AS newest,
        max(recorded) AS recorded_at,
        count() AS runs
    FROM
    (
        SELECT
            project,
            suite,
            scorer,
            composite,
            run,
            count() AS examples,
            countIf(value IS NOT NULL) AS scored,
            avg(value) AS mean,
            stddevSamp(value) AS deviation,
            min(recorded) AS recorded
        FROM
        (
            SELECT
                project,
                suite,
                scorer,
                composite,
                run,
                example,
                avg(value) AS value,
                min(recorded_at) AS recorded
            FROM {database}.eval_results FINAL
            WHERE (project, suite, scorer, composite, run) IN
            (
                SELECT project, suite, scorer, composite, run
                FROM {database}.eval_results
                GROUP BY project, suite, scorer, composite, run
                HAVING uniqExact(entry) = any(pieces) AND uniqExact(piece) = any(pieces) AND uniqExact(pieces) = 1
            )
            GROUP BY project, suite, scorer, composite, run, example
        )
        GROUP BY project, suite, scorer, composite, run
    )
    GROUP BY project, suite, scorer, composite
)
