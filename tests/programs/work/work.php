<?php
// Purpose: PHP work with the same output in every run. Run by cases/php.py. Modules (mbstring and others) are opened with RTLD_DEEPBIND.

function churn(int $seed): string
{
    $table = [];
    for ($i = 1; $i <= 60000; $i++) {
        $key = 'k' . ($i * $seed * 7919 % 701);
        $table[$key][] = str_repeat('v', $i % 97);
        if (count($table[$key]) > 15) {
            array_splice($table[$key], 0, 10);
        }
        if ($i % 11 == 0) {
            unset($table['k' . ($i % 701)]);
        }
    }
    ksort($table);
    return md5(serialize($table));
}

foreach ([1, 2, 3] as $seed) {
    echo "churn ", churn($seed), "\n";
}

$text = '';
for ($i = 0; $i < 5000; $i++) {
    $text .= "wört$i " . str_repeat('ä', $i % 50) . ' ';
}
echo 'regex ', md5(preg_replace('/(\w+?)(\d)/u', '$2$1', $text)), "\n";
echo 'mbstring ', md5(mb_strtoupper($text)), ' ', mb_strlen($text), ' ', md5(mb_convert_encoding($text, 'UTF-16', 'UTF-8')), "\n";
for ($i = 0; $i < 200; $i++) {
    mb_regex_encoding('UTF-8');
    mb_ereg_replace("w.rt$i", 'x', $text);
}
echo 'json ', md5(json_encode(json_decode(json_encode(array_fill(0, 500, ['list' => range(1, 50), 'text' => 'ü'])), true))), "\n";
echo 'zlib ', md5(gzuncompress(gzcompress($text, 9))), "\n";

$children = [];
for ($i = 1; $i <= 4; $i++) {
    $child = pcntl_fork();
    if ($child == 0) {
        exit(churn($i) === churn($i) ? 0 : 1);
    }
    $children[] = $child;
}
foreach ($children as $child) {
    pcntl_waitpid($child, $status);
    echo 'child ', pcntl_wexitstatus($status), "\n";
}
