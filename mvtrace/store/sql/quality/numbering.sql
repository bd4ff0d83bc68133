-- Whether any producer numbered its records.
SELECT count() > 0 AS numbers
FROM
(
    SELECT 1
    FROM producers
    WHERE project = {project:String}
        AND ({service:String} = '' OR service IN ('', {service:String}))
        AND ({environment:String} = '' OR environment IN ('', {environment:String}))
    LIMIT 1
    UNION ALL
    SELECT 1
    FROM producer_checks
    WHERE project = {project:String}
        AND ({service:String} = '' OR service IN ('', {service:String}))
        AND ({environment:String} = '' OR environment IN ('', {environment:String}))
    LIMIT 1
)
