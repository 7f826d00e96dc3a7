-- Looking around.
SHOW KEYSPACES;
SELECT COUNT(*) FROM words;
SELECT MIN(key), MAX(key) FROM words;
-- Single keys and lists of them.
SELECT key, value FROM words WHERE key = 'aardvark';
SELECT key FROM words WHERE key IN ('plum', 'pear', 'no such fruit', 'apple');
SELECT key, value ->> 'letters' AS letters, value ->> 'ending' AS ending FROM words WHERE key STARTS WITH 'quizz';
-- Ranges of keys, both ways.
SELECT key FROM words WHERE key LIKE 'zyg%';
SELECT key FROM words ORDER BY key DESC LIMIT 3;
SELECT key FROM words WHERE key >= 'mo' ORDER BY key LIMIT 3 OFFSET 2;
SELECT key FROM words WHERE key BETWEEN 'catacomb' AND 'catalog' AND NOT key LIKE '%''s';
SELECT COUNT(*) FROM words WHERE key >= 'b' AND key < 'c';
SELECT key FROM words WHERE key LIKE 'é%' LIMIT 4;
SELECT key FROM words WHERE key < 'AAA' OR key > 'étude' ORDER BY key DESC;
SELECT key, value ->> 'colour' AS colour FROM words WHERE key = 'red';
-- Conditions on what the values hold.
SELECT key FROM words WHERE key STARTS WITH 'un' AND key LIKE '%ingly' LIMIT 4;
SELECT COUNT(*) AS with_twenty_letters FROM words WHERE value ->> 'letters' = '20';
SELECT key, value -> 'vowels' FROM words WHERE value ->> 'vowels' = '10' LIMIT 3;
-- What it takes.
EXPLAIN SELECT key FROM words WHERE key LIKE 'quiz%' AND value ->> 'letters' = '7';
EXPLAIN SELECT COUNT(*) FROM words WHERE value ->> 'letters' = '20';
EXPLAIN ANALYZE SELECT COUNT(*) FROM words WHERE key STARTS WITH 'quizz';
-- Writing.
INSERT INTO words (key, value) VALUES ('zzz', 'sleep'), ('zzzz', JSON '{"letters": 4, "ending": "zzz"}');
SELECT key, value, expires FROM words WHERE key > 'zyzzyvas';
UPSERT INTO words (key, value, expires) VALUES ('zzz', 'deep sleep', NOW() + INTERVAL '10 minutes');
UPDATE words SET value = 'awake' WHERE key LIKE 'zzz%';
SELECT key, value, version, expires FROM words WHERE key LIKE 'zzz%';
INSERT INTO words (key, value) VALUES (x'00ff', x'deadbeef'), ('%	tab and
line', ''), ('%long', '0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789 and more');
SELECT key, value FROM words WHERE key < 'A' ORDER BY key;
DELETE FROM words WHERE key = x'00ff' OR key LIKE '\%%';
DELETE FROM words WHERE key LIKE 'zzz%';
SELECT COUNT(*) FROM words;
-- Where it lies.
SPLIT KEYSPACE words AT 'm';
\d
\h SPLIT
\echo That was all.
