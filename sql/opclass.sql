-- Every operator class and family of the extension is complete and sound.
-- What is missing or wrong is told as INFO.
SELECT amname, opcname, amvalidate(opc.oid)
FROM pg_opclass AS opc
JOIN pg_am AS am ON am.oid = opcmethod
JOIN pg_depend AS d ON d.classid = 'pg_opclass'::regclass AND d.objid = opc.oid
                   AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND extname = 'offline_sync'
WHERE NOT amvalidate(opc.oid)
ORDER BY amname, opcname;

-- so that an empty answer above means something
SELECT count(*) > 0 AS there_are_some
FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE d.classid = 'pg_opclass'::regclass AND d.refclassid = 'pg_extension'::regclass
  AND d.deptype = 'e' AND extname = 'offline_sync';

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid
FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND extname = 'offline_sync';

-- operators: commutators and negators are mutual, estimators are there; what
-- says HASHES is in a hash family, what says MERGES in a btree one
SELECT o.oid::regoperator AS not_mutual
FROM pg_operator AS o JOIN member ON classid = 'pg_operator'::regclass AND objid = o.oid
LEFT JOIN pg_operator AS c ON c.oid = o.oprcom
LEFT JOIN pg_operator AS n ON n.oid = o.oprnegate
WHERE o.oprcom <> 0 AND c.oprcom IS DISTINCT FROM o.oid
   OR o.oprnegate <> 0 AND n.oprnegate IS DISTINCT FROM o.oid;

SELECT o.oid::regoperator AS not_estimated
FROM pg_operator AS o JOIN member ON classid = 'pg_operator'::regclass AND objid = o.oid
WHERE oprresult = 'boolean'::regtype AND (oprrest = 0 OR oprjoin = 0);

SELECT o.oid::regoperator AS hashes_or_merges_without_family
FROM pg_operator AS o JOIN member ON classid = 'pg_operator'::regclass AND objid = o.oid
WHERE oprcanhash IS DISTINCT FROM EXISTS (SELECT FROM pg_amop JOIN pg_am ON pg_am.oid = amopmethod
                                          WHERE amopopr = o.oid AND amname = 'hash')
   OR oprcanmerge AND NOT EXISTS (SELECT FROM pg_amop JOIN pg_am ON pg_am.oid = amopmethod
                                  WHERE amopopr = o.oid AND amname = 'btree');

-- functions behind operators are immutable, strict where C, safe in parallel
SELECT p.oid::regprocedure AS careless
FROM pg_operator AS o JOIN member ON classid = 'pg_operator'::regclass AND objid = o.oid
JOIN pg_proc AS p ON p.oid = o.oprcode
JOIN pg_language AS l ON l.oid = p.prolang
WHERE provolatile <> 'i' OR proparallel <> 's' OR NOT proisstrict AND lanname = 'c';

-- input and output are immutable, and binary forms are there, for every base type
SELECT t.oid::regtype AS incomplete
FROM pg_type AS t JOIN member ON classid = 'pg_type'::regclass AND objid = t.oid
WHERE typtype = 'b' AND typelem = 0
  AND (typreceive = 0 OR typsend = 0 OR EXISTS (
        SELECT FROM pg_proc WHERE pg_proc.oid IN (typinput, typoutput, typreceive, typsend)
                              AND (provolatile = 'v' OR NOT proisstrict)));
DROP VIEW member;
