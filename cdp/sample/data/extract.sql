-- How the files beside this one were cut from the whole of Synthea's sample (1,461 patients): `duckdb < extract.sql`
-- in a folder that holds the whole files under whole/. The rows are untouched (order, spelling, offsets, duplicates), but
-- for one thing: the published immunisations lie 914 days too early. Every child's first dose of hepatitis B, which Synthea
-- gives on the day of birth, is dated 914 days before it, and they end on 2017-07-10 where everything else runs to
-- 2020-01-10. So they are moved by 914 days; their times lose the offset, which would be that of another season.
--
-- The cut: the lakehouse of 2017-07-10; rows that start later are left out, as are patients who are born or die later.
-- The people: 150, the first of each group in the order of md5(id), so that every programme of the example has some.

CREATE MACRO cut() AS '2017-07-11';
CREATE TABLE patients AS SELECT *, row_number() OVER () AS nr FROM read_csv('whole/patients.csv.gz', all_varchar = true);
CREATE TABLE conditions AS SELECT *, row_number() OVER () AS nr FROM read_csv('whole/conditions.csv.gz', all_varchar = true) WHERE start < cut();
CREATE TABLE encounters AS SELECT *, row_number() OVER () AS nr FROM read_csv('whole/encounters.csv.gz', all_varchar = true) WHERE start < cut();
CREATE TABLE observations AS SELECT *, row_number() OVER () AS nr FROM read_csv('whole/observations.csv.gz', all_varchar = true) WHERE date < cut();
CREATE TABLE procedures AS SELECT *, row_number() OVER () AS nr FROM read_csv('whole/procedures.csv.gz', all_varchar = true) WHERE start < cut();
CREATE TABLE immunizations AS
SELECT * REPLACE (cast(cast(start[:10] AS date) + 914 AS varchar) || start[11:19] AS start), row_number() OVER () AS nr
FROM read_csv('whole/immunizations.csv.gz', all_varchar = true) WHERE cast(start[:10] AS date) + 914 < cast(cut() AS date);
CREATE TABLE medications AS SELECT *, row_number() OVER () AS nr FROM read_csv('whole/medications.csv.gz', all_varchar = true) WHERE start < cut();

CREATE TABLE people AS
SELECT id, md5(id) AS dice, deathdate IS NOT NULL AS dead, birthdate,
       id IN (SELECT patient FROM conditions WHERE code = '44054006') AS diabetes,
       id IN (SELECT patient FROM conditions WHERE code = '38341003') AS hypertension,
       id IN (SELECT patient FROM conditions WHERE code = '15777000') AS prediabetes,
       id IN (SELECT patient FROM conditions WHERE code = '72892002') AS pregnancy,
       id IN (SELECT patient FROM observations WHERE code = '55277-8') AS social_history
FROM patients WHERE birthdate < cut() AND coalesce(deathdate, '') < cut();

CREATE TABLE chosen AS
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY grp ORDER BY dice) AS place
    FROM (SELECT *, CASE WHEN dead THEN 'dead' WHEN diabetes THEN 'diabetes' WHEN social_history THEN 'social_history'
                         WHEN pregnancy THEN 'pregnancy' WHEN hypertension THEN 'hypertension' WHEN prediabetes THEN 'prediabetes'
                         WHEN birthdate > '2015-07-11' THEN 'infant' WHEN birthdate > '2005' THEN 'child' ELSE 'other' END AS grp FROM people)
)
SELECT id, grp FROM ranked
WHERE place <= CASE grp WHEN 'diabetes' THEN 45 WHEN 'hypertension' THEN 30 WHEN 'prediabetes' THEN 15 WHEN 'pregnancy' THEN 12
                        WHEN 'social_history' THEN 6 WHEN 'dead' THEN 12 WHEN 'infant' THEN 8 WHEN 'child' THEN 10 ELSE 24 END;

COPY (SELECT * EXCLUDE nr FROM patients WHERE id IN (SELECT id FROM chosen) ORDER BY nr) TO 'patients.csv.gz';
COPY (SELECT * EXCLUDE nr FROM conditions WHERE patient IN (SELECT id FROM chosen) ORDER BY nr) TO 'conditions.csv.gz';
COPY (SELECT * EXCLUDE nr FROM encounters WHERE patient IN (SELECT id FROM chosen) ORDER BY nr) TO 'encounters.csv.gz';
COPY (SELECT * EXCLUDE nr FROM observations WHERE patient IN (SELECT id FROM chosen) ORDER BY nr) TO 'observations.csv.gz';
COPY (SELECT * EXCLUDE nr FROM procedures WHERE patient IN (SELECT id FROM chosen) ORDER BY nr) TO 'procedures.csv.gz';
COPY (SELECT * EXCLUDE nr FROM immunizations WHERE patient IN (SELECT id FROM chosen) ORDER BY nr) TO 'immunizations.csv.gz';
COPY (SELECT * EXCLUDE nr FROM medications WHERE patient IN (SELECT id FROM chosen) ORDER BY nr) TO 'medications.csv.gz';
