-- Purpose: SQL with the same output in every run. Run by cases/sqlite3.py.
pragma journal_mode = wal;
create table t (id integer primary key, name text, value integer, body blob);
insert into t (name, value, body)
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 40000)
    select printf('name%d', i * 7919 % 1009), i * 31 % 10007, zeroblob(i % 300) from n;
create index by_name on t (name, value);
create index by_value on t (value desc) where value % 3 = 0;
select count(*), sum(value), sum(length(body)) from t;
select name, count(*), group_concat(value, '-') from (select * from t order by value) group by name order by 2 desc, 1 limit 5;
select id, sum(value) over (partition by name order by id rows 5 preceding) s from t order by s desc, id limit 10;
select a.name, count(*) from t a join t b on a.name = b.name and a.value < b.value group by a.name order by 2 desc, 1 limit 3;
update t set body = cast(name || hex(body) as blob) where value % 7 = 0;
delete from t where value % 5 = 1;
create virtual table words using fts5 (content);
insert into words select group_concat(name, ' ') from t group by value % 500;
select count(*) from words where words match 'name12* not name120';
select json_group_array(json_object('id', id, 'name', name)) from (select id, name from t where value < 3 order by id);
create trigger after_delete after delete on t begin insert into words values (old.name); end;
begin;
delete from t where id % 2;
savepoint inner_point;
delete from t;
rollback to inner_point;
commit;
vacuum;
pragma integrity_check;
select count(*), sum(value), max(name) from t;
