SELEKT * FROM words;
SELECT * FORM words;
SELECT * FROM wrods;
SELECT kye FROM words;
SELECT * FROM words WHERE key = "apple";
SELECT * FROM words WHERE key = apple;
SELECT * FROM words WHERE key LIKE 'app%' ORDER BY value;
SELECT COUNT(*), key FROM words;
SELECT key FROM words
  WHERE value ->> 'letters' = '4'
  LIMIT ten;
SELECT * FROM words JOIN others ON key = key;
SELECT SUM(value) FROM words;
INSERT INTO words (key, value) VALUES ('apple', 'red');
INSERT INTO words (key) VALUES ('apple');
INSERT INTO words (key, value) VALUES ('apple', JSON '{"colour": red}');
UPDATE words SET key = 'pear' WHERE key = 'apple';
DELETE FROM words;
DROP TABLE words;
BEGIN;
SELECT * FROM words WHERE key = x'0';
MOVE LEADER OF RANGE 999 TO SITE site-a;
SHOW TABLES;
SPLIT AT;
\x
SELECT key FROM words WHERE key = 'never closed;
