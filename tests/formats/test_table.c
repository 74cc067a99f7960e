/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/table.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is read, as text ---- */

/* "name:012>label name:... [a=1 b=2]": symbols as digits, then each class with its rows. */
static void print_table(const struct table *table, char *text)
{
    for (size_t i = 0; i < table->count; ++i) {
        text += sprintf(text, "%s%s:", i ? " " : "", table_name(table, i));
        for (size_t j = table->offsets[i]; j < table->offsets[i + 1]; ++j) {
            text += sprintf(text, "%d", table->ids[j]);
        }
        text += table->labels ? sprintf(text, ">%s", table->classes[table->labels[i]])
                              : sprintf(text, ">%.17g", table->values[i]);
    }
    for (size_t i = 0; i < table->class_count; ++i) {
        text += sprintf(text, "%s%s=%zu", i ? " " : " [", table->classes[i], table->class_sizes[i]);
    }
    sprintf(text, "%s", table->class_count ? "]" : "");
}

static enum ldar_status read_with(const char *path, const struct table_options *options, char *text,
                                  struct ldar_error *error)
{
    struct table table;
    const enum ldar_status status = table_read(path, options, &table, error);
    if (status) {
        assert_null(table.ids);
        assert_int_equal(table.count, 0);
    } else {
        print_table(&table, text);
    }
    table_free(&table);
    return status;
}

static const char *const two_classes[] = {"0", "1"};
static const struct table_options classes_options = {.kind = TABLE_CLASSES};
static const struct table_options values_options = {.kind = TABLE_VALUES};
static const struct table_options closed_options = {.kind = TABLE_CLASSES, .classes = two_classes, .class_count = 2};

static void assert_reads(const char *path, const struct table_options *options, const char *expected)
{
    char text[2000];
    struct ldar_error error;
    assert_ok(read_with(path, options, text, &error), &error);
    assert_string_equal(text, expected);
}

static void assert_refuses(const char *path, const struct table_options *options, const char *says)
{
    char text[2000];
    struct ldar_error error;
    assert_int_not_equal(read_with(path, options, text, &error), LDAR_OK);
    assert_says(error.message, says);
}

/* ---- files of rows ---- */

static const char *const forms[][2] = {
    {"sequence,label\nACGT,0\nTT,1\n", ":0123>0 :33>1 [0=1 1=1]"},
    {"label,sequence\n1,ACGT\n0,UuTt", ":0123>1 :3333>0 [0=1 1=1]"},
    {"sequence\tlabel\nACGT\tx y\nTT\tb,c\n", ":0123>x y :33>b,c [b,c=1 x y=1]"},
    {"id,Sequence,other,LABEL\r\nr1,ACGT,,0\r\n\r\nr2,nN,\"a \"\"b\"\", c\",1\r\n", "r1:0123>0 r2:44>1 [0=1 1=1]"},
    {"\xef\xbb\xbfsequence,label\nA,0\nC,1\n", ":0>0 :1>1 [0=1 1=1]"},
    {"\n\r\nsequence,label\n\nA,0\n\nC,1\n\n", ":0>0 :1>1 [0=1 1=1]"},
    {" sequence , \"label\" \n A\t, 0 \n \"C\" ,\" 1\"\n", ":0>0 :1> 1 [ 1=1 0=1]"},
    {"note,sequence,label\n\"two\nlines\",A,0\n\"\",C,1\n", ":0>0 :1>1 [0=1 1=1]"},
    {"note\tsequence\tlabel\n\tA\t0\n\tC\t1\n", ":0>0 :1>1 [0=1 1=1]"},
    {"name,id,sequence,label\nx,7,A,0\n,8,C,1\n", "x:0>0 :1>1 [0=1 1=1]"},
    {"sequence,label\nA,10\nC,9\nG,-3\nT,10\nA,-20\n", ":0>10 :1>9 :2>-3 :3>10 :0>-20 [-20=1 -3=1 9=1 10=2]"},
    {"sequence,label\nA,10\nC,9\nG,x\n", ":0>10 :1>9 :2>x [10=1 9=1 x=1]"},
    {"sequence,label\nA,1\nC,01\n", ":0>1 :1>01 [01=1 1=1]"},
    {"sequence,label\nRYSWKMBDHVN-,0\na,1\n", ":444444444444>0 :0>1 [0=1 1=1]"},
    {"sequence,label,,\nA,0,,\nC,1,x,y\n", ":0>0 :1>1 [0=1 1=1]"},
    {"sequence,label\nA,\xc3\xa4\nC,b\n", ":0>\xc3\xa4 :1>b [b=1 \xc3\xa4=1]"},
    {">a|0\nAC\nGT\n>b|x|1 text\nTT\n", "a:0123>0 b|x:33>1 [0=1 1=1]"},
    {"\n>|0\nA\n>|1\nC", ":0>0 :1>1 [0=1 1=1]"},
    {"@r|0\nAC\n+\nII\n@s|1\nG\n+\nI\n", "r:01>0 s:2>1 [0=1 1=1]"},
};

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; ++i) {
        for (int packing = 0; packing < PACKINGS; ++packing) {
            const char *path = file_pack("forms", forms[i][0], strlen(forms[i][0]), (enum packing)packing);
            assert_reads(path, &classes_options, forms[i][1]);
        }
    }
}

/* Rows that stand across the blocks in which a file is read, and all growing of the arrays. */
static void test_many_rows(void **state)
{
    (void)state;
    enum { ROWS = 20000 };
    static const char letters[] = "ACGTN";
    struct random random = random_start(random_seed());
    struct table table;
    struct ldar_error error;
    FILE *file = fopen(in_folder("many.csv"), "w");
    assert_non_null(file);
    fprintf(file, "label,sequence,name\n");
    for (unsigned i = 0; i < ROWS; ++i) {
        fprintf(file, "class %u,", i % 700);
        for (unsigned j = 0; j <= i % 61; ++j) {
            fputc(letters[(i + j * j) % 5], file);
        }
        fprintf(file, random_below(&random, 2) ? ",row%u\n" : ",\"row%u\"\r\n", i);
    }
    fclose(file);
    assert_ok(table_read(in_folder("many.csv"), &classes_options, &table, &error), &error);
    assert_int_equal(table.count, ROWS);
    assert_int_equal(table.class_count, 700);
    assert_int_equal(table.longest, 61);
    size_t unknown = 0;
    for (unsigned i = 0; i < ROWS; ++i) {
        char name[32], class[32];
        snprintf(name, sizeof name, "row%u", i);
        snprintf(class, sizeof class, "class %u", i % 700);
        assert_string_equal(table_name(&table, i), name);
        assert_string_equal(table.classes[table.labels[i]], class);
        assert_int_equal(table.offsets[i + 1] - table.offsets[i], i % 61 + 1);
        for (unsigned j = 0; j <= i % 61; ++j) {
            assert_int_equal(table.ids[table.offsets[i] + j], (i + j * j) % 5);
            unknown += (i + j * j) % 5 == 4;
        }
    }
    assert_int_equal(table.unknown, unknown);
    for (size_t i = 0; i < 700; ++i) {
        assert_int_equal(table.class_sizes[i], ROWS / 700 + (strtoul(table.classes[i] + 6, NULL, 10) < ROWS % 700));
        assert_true(i == 0 || strcmp(table.classes[i - 1], table.classes[i]) < 0);
    }
    table_free(&table);
}

static void test_values(void **state)
{
    (void)state;
    static const char text[] = "sequence,label\nA,0\nC,-1.5e-3\nG,+2.\nT,.5\nA,1e300\n";
    assert_reads(file_write_text("values.csv", text), &values_options,
                 ":0>0 :1>-0.0015 :2>2 :3>0.5 :0>1.0000000000000001e+300");
    assert_reads(file_write_text("values.fa", ">a|1.25\nACG\n"), &values_options, "a:012>1.25");
    static const char *const wrong[] = {"nan", "NaN", "inf", "-Infinity", "1e999", "0x10",
                                        "1,5", "",    "--1", "1e",        "e",     "one"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        char table[100];
        snprintf(table, sizeof table, "sequence,label\nA,0\nC,\"%s\"\n", wrong[i]);
        assert_refuses(file_write_text("wrong.csv", table), &values_options, "wrong.csv:3: the label \"");
    }
}

/* Test tables have the classes of the training table, in its order. */
static void test_given_classes(void **state)
{
    (void)state;
    static const char *const reversed[] = {"1", "0", "other"};
    static const char *const twice[] = {"a", "a"};
    static const char *const wrong[] = {"a", "b\n"};
    const char *path = file_write_text("test.csv", "sequence,label\nA,1\nC,1\nG,0\n");
    struct table_options options = {.kind = TABLE_CLASSES, .classes = reversed, .class_count = 3};
    assert_reads(path, &options, ":0>1 :1>1 :2>0 [1=2 0=1 other=0]");
    assert_reads(file_write_text("one.csv", "sequence,label\nA,1\n"), &options, ":0>1 [1=1 0=0 other=0]");
    assert_refuses(file_write_text("test.csv", "sequence,label\nA,1\n\nC,2\n"), &closed_options,
                   "test.csv:4: the class \"2\" is none of the 2 known: \"0\", \"1\"");
    assert_refuses(file_write_text("test.fa", ">a|1\nA\n>b|2\nC\n"), &closed_options,
                   "test.fa: record \"b|2\": the class \"2\" is none");
    options.classes = twice;
    options.class_count = 2;
    assert_refuses(path, &options, "\"a\" is there twice");
    options.classes = wrong;
    assert_refuses(path, &options, "control characters");
}

/* ---- what is refused ---- */

static const char *const refusals[][2] = {
    {"", ": is empty"},
    {"\n\r\n", ": is empty"},
    {"sequence,label\n", ": holds a header and no row"},
    {"ACGT,0\nTT,1\n", ":1: no header; the first line must name"},
    {"seq,label\nACGT,0\n", ":1: no column \"sequence\"; the first line must name"},
    {"sequence,class\nACGT,0\n", ":1: no column \"label\" beside \"sequence\""},
    {"region,start,end\nI,0,1\n", ":1: no column \"label\" beside \"region\""},
    {"region,start,end,label\nI,0,1,0\n", ":1: holds intervals of a genome, and no genome is given"},
    {"sequence;label\nA;0\n", ":1: no header"},
    {"sequence,label,Sequence\nA,0,C\n", ":1: two columns are named \"sequence\""},
    {"label,sequence,label\n0,A,0\n", ":1: two columns are named \"label\""},
    {"sequence,label\nA,0\nC\n", ":3: 1 column, and the header has 2"},
    {"sequence,label\nA,0\nC,1,2\n", ":3: 3 columns, and the header has 2"},
    {"sequence,label\nA,0\nC,\n", ":3: the label is empty"},
    {"sequence,label\nA,0\n,1\n", ":3: the sequence is empty"},
    {"sequence,label\nA,0\n\"\",1\n", ":3: the sequence is empty"},
    {"sequence,label\nA,0\nACJT,1\n", ":3: position 3 of the sequence: 'J' is no nucleotide"},
    {"sequence,label\nA,0\nAC GT,1\n", ":3: position 3 of the sequence: 0x20 is no nucleotide"},
    {"sequence,label\nA,0\n\"AC\nGT\",1\n", ":3: position 3 of the sequence: 0x0a is no nucleotide"},
    {"sequence,label\nA,\"0\n1\"\n", ":2: the class \"0?1\" has a name with control characters"},
    {"sequence,label\nA,\xff\n", ":2: the class \"\xff\" has a name with control characters, or not in UTF-8"},
    {"sequence,label\nA,\xed\xa0\x80\n", "or not in UTF-8"},
    {"sequence,label\nA,\"0\nC,1\n", ":2: a quote is opened here and closed nowhere"},
    {"sequence,label\nA,\"0\"x\nC,1\n", ":2: a quoted field goes on behind its closing quote"},
    {"sequence,label\nA,0\nC,0\n", ": all rows are of the class \"0\", and two at least are needed"},
    {">a|0\nA\n>b\nC\n", ": record \"b\": its name does not end in a bar and its label"},
    {">a|0\nA\n>b|\nC\n", ": record \"b|\": the label is empty"},
    {">a|0\n>b|1\nC\n", ": record \"a|0\": the sequence is empty"},
    {">a|0\nA\n>b|1\nCJ\n", ": record \"b|1\", position 2: 'J' is no nucleotide"},
    {">a|0\nA\n", ": all rows are of the class \"0\""},
    {"\xef\xbb\xbf>a|0\nA\n", "neither FASTA nor FASTQ"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; ++i) {
        char says[300];
        const bool whole = refusals[i][1][0] == ':';
        snprintf(says, sizeof says, "%s%s", whole ? "refused" : "", refusals[i][1]);
        assert_refuses(file_write_text("refused", refusals[i][0]), &classes_options, says);
    }
    assert_refuses(in_folder("absent.csv"), &classes_options, "absent.csv: No such file");
}

static void test_hostile(void **state)
{
    (void)state;
    assert_refuses(file_write("nul.csv", "sequence,label\nA,0\nC\0C,1\n", 25), &classes_options,
                   "nul.csv:3: holds a NUL");
    assert_refuses(file_write("nul.csv", "sequence,label\nA,0\nC,\"1\0\"\n", 26), &classes_options, ":3: holds a NUL");
    char name[400];
    snprintf(name, sizeof name, "sequence,label\nA,%0*d\nC,1\n", TABLE_CLASS_NAME_MAX, 7);
    struct ldar_error error;
    char text[2000];
    assert_ok(read_with(file_write_text("name.csv", name), &classes_options, text, &error), &error);
    snprintf(name, sizeof name, "sequence,label\nA,%0*d\nC,1\n", TABLE_CLASS_NAME_MAX + 1, 7);
    assert_refuses(file_write_text("name.csv", name), &classes_options, "name.csv:2: a class whose name is longer");
    FILE *file = fopen(in_folder("classes.csv"), "w");
    assert_non_null(file);
    fprintf(file, "sequence,label\n");
    for (unsigned i = 0; i <= TABLE_CLASSES_MAX; ++i) {
        fprintf(file, "A,%u\n", i);
    }
    fclose(file);
    assert_refuses(in_folder("classes.csv"), &classes_options, "classes.csv:10002: more than 10000 classes");
}

/* A line without an end, packed so that it takes no disk. */
static void test_long_line(void **state)
{
    (void)state;
    static const char header[] = "sequence,label\nA,0\n";
    const size_t count = (size_t)TABLE_LINE_MAX + 1000;
    char *bytes = malloc(count);
    assert_non_null(bytes);
    memset(bytes, 'A', count);
    memcpy(bytes, header, sizeof header - 1);
    assert_refuses(file_pack("long.csv", bytes, count, GZIP), &classes_options,
                   "long.csv:3: the line is longer than 67108864 bytes");
    memset(bytes, ' ', count);
    memcpy(bytes, header, sizeof header - 1);
    assert_refuses(file_pack("long.csv", bytes, count, GZIP), &classes_options, "long.csv:3: the line is longer");
    memset(bytes, ',', count);
    memcpy(bytes, header, sizeof header - 1);
    assert_refuses(file_pack("long.csv", bytes, count, GZIP), &classes_options, "long.csv:3: more than 4096 columns");
    memset(bytes, 'A', count);
    memcpy(bytes, ">a|0\n", 5);
    assert_refuses(file_pack("long.fa", bytes, count, GZIP), &classes_options,
                   "long.fa: record \"a|0\": a sequence of more than 67108864 nucleotides");
    free(bytes);
}

/* ---- folders ---- */

static const char *make_folder(const char *name)
{
    const char *path = in_folder(name);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

/* Removes what `path` names, and what is in it. */
static void remove_tree(const char *path)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char inner[1024];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            remove_tree(inner);
        }
    }
    if (directory) {
        closedir(directory);
    }
    remove(path);
}

static void test_class_folders(void **state)
{
    (void)state;
    struct heard heard = {0};
    const struct warnings warnings = hear(&heard);
    const struct table_options options = {.kind = TABLE_CLASSES, .warnings = &warnings};
    make_folder("tree");
    make_folder("tree/pos");
    make_folder("tree/neg");
    file_write_text("tree/metadata.yaml", "version: 0\n");
    file_write_text("tree/.hidden", "x");
    file_write_text("tree/pos/10.txt", "ACGT");
    file_write_text("tree/pos/2.txt", "TT\r\n\nGG\n");
    file_write_text("tree/pos/2.txt.md5", "x");
    file_pack("tree/neg/b.fa.gz", ">x y\nCC\n>z|1\nCA\n", 16, BGZF_PACKED);
    file_write_text("tree/neg/c.txt", ">w\nAA\n");
    assert_reads(in_folder("tree"), &options,
                 "x:11>neg z|1:10>neg w:00>neg 10:0123>pos 2:33>pos 2:22>pos [neg=3 pos=3]");
    assert_int_equal(heard.count, 1);
    assert_says(heard.last, "pos: 1 file is passed over");
    assert_refuses(in_folder("tree"), &closed_options,
                   "b.fa.gz: record \"x\": the class \"neg\" is none of the 2 known");
    assert_refuses(in_folder("tree"), &values_options, "a folder has classes, not values");
    file_write_text("tree/pos/3.txt", "A\nACJ\n");
    assert_refuses(in_folder("tree"), &options, "pos/3.txt:2: position 3 of the sequence: 'J'");
    remove(in_folder("tree/pos/3.txt"));
    make_folder("tree/empty");
    assert_refuses(in_folder("tree"), &options, "tree/empty: a folder of folders is a table");
    file_write_text("tree/train.csv", "sequence,label\n");
    assert_refuses(in_folder("tree"), &options, "tree: holds folders and tables");
    remove_tree(in_folder("tree"));
}

/* ---- intervals ---- */

static const char genome[] = ">chr1\nACGTNACGTA\n>II\nGGGGGCCCCC\n>odd\nAC*T\n";

static void test_intervals(void **state)
{
    (void)state;
    struct heard heard = {0};
    const struct warnings warnings = hear(&heard);
    struct ldar_error error;
    reference *reference;
    assert_ok(reference_open(file_write_text("genome.fa", genome), &warnings, &reference, &error), &error);
    const struct table_options options = {.kind = TABLE_CLASSES, .reference = reference};
    make_folder("gb");
    file_pack("gb/pos.csv.gz", "id,region,start,end,strand\n0,chr1,0,5,+\n1,chr1,1,6,-\n", 53, GZIP);
    file_write_text("gb/neg.csv", "id,region,start,end,strand\nx,1,9,10,\ny,II,4,7,.\n");
    file_write_text("gb/README.md", "x");
    assert_reads(in_folder("gb"), &options, "x:0>neg y:211>neg 0:01234>pos 1:34012>pos [neg=2 pos=2]");
    assert_int_equal(heard.count, 1);
    assert_says(heard.last, "genome.fa has no sequence \"1\"; \"chr1\" is taken for it");
    static const char *const wrong[][2] = {
        {"region,start,end\nIII,0,1\n", "neg.csv:2: "},
        {"region,start,end\nII,0,11\n", "neg.csv:2: end 11 is beyond the end of \"II\""},
        {"region,start,end\nII,3,3\n", "neg.csv:2: start 3 is not before end 3"},
        {"region,start,end\nII,-1,3\n", "neg.csv:2: start \"-1\" is no position"},
        {"region,start,end\nII,1,\n", "neg.csv:2: end \"\" is no position"},
        {"region,start,end,strand\nII,1,2,*\n", "neg.csv:2: strand \"*\" is none of + - ."},
        {"region,start,end\nII,0,18446744073709551616\n", "is no position"},
        {"region,start,end\nodd,0,4\n", "neg.csv:2: position 3 of the sequence: '*' is no nucleotide"},
        {"region,start,end\n", "neg.csv: holds a header and no row"},
        {"region,start\nII,0\n", "neg.csv:1: no header"},
        {"region,start,end,label\nII,0,1,0\n", "neg.csv:1: has a column \"label\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        file_write_text("gb/neg.csv", wrong[i][0]);
        assert_refuses(in_folder("gb"), &options, wrong[i][1]);
    }
    file_write_text("gb/neg.csv", "region,start,end\nII,0,1\n");
    assert_refuses(in_folder("gb"), &classes_options, "neg.csv:1: holds intervals of a genome, and no genome is given");
    file_write_text("gb/neg.tsv", "region\tstart\tend\nII\t0\t1\n");
    assert_refuses(in_folder("gb"), &options, "neg.csv and neg.tsv are one class");
    remove_tree(in_folder("gb"));
    make_folder("gb");
    assert_refuses(in_folder("gb"), &options, "gb: no table: it holds neither a folder nor");
    remove_tree(in_folder("gb"));
    assert_reads(file_write_text("i.tsv", "region\tstart\tend\tlabel\nII\t3\t6\t0.5\n"),
                 &(struct table_options){.kind = TABLE_VALUES, .reference = reference}, ":221>0.5");
    reference_close(reference);
}

/* What can be read but once: a table and FASTA on standard input. */
static void test_standard_input(void **state)
{
    (void)state;
    static const char *const files[][2] = {{"sequence,label\nA,0\nC,1\n", ":0>0 :1>1 [0=1 1=1]"},
                                           {">a|0\nA\n>b|1\nC\n", "a:0>0 b:1>1 [0=1 1=1]"},
                                           {"sequence,label\nA,0\nC,x\n", NULL}};
    const int kept = dup(STDIN_FILENO);
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
        const size_t length = strlen(files[i][0]);
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], files[i][0], length), length);
        close(ends[1]);
        assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
        close(ends[0]);
        if (files[i][1]) {
            assert_reads("-", &classes_options, files[i][1]);
        } else {
            assert_refuses("-", &closed_options, "standard input:3: the class \"x\" is none of the 2 known");
        }
    }
    dup2(kept, STDIN_FILENO);
    close(kept);
}

/* A file of each kind is cut at every byte: it reads or is refused, and never more than that. */
static void test_cuts(void **state)
{
    (void)state;
    static const char *const whole[] = {"note,sequence,label\r\n\"a\"\"b\",ACGT,0\n\"\nx\",NN,1",
                                        ">a|0\nACGT\n>b|1\nNN\n"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; ++i) {
        for (size_t cut = 0; cut < strlen(whole[i]); ++cut) {
            struct table table;
            struct ldar_error error;
            if (table_read(file_write("cut", whole[i], cut), &closed_options, &table, &error)) {
                assert_says(error.message, "cut");
            }
            table_free(&table);
        }
    }
}

/* Published tables, where the outside data are. */
static void test_published(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t rows, length;
    } tables[] = {{"tf/0/train.csv.gz", 32378, 101},
                  {"tf/4/test.csv.gz", 1000, 101},
                  {"prom/prom_300_tata/train.csv.gz", 4904, 300},
                  {"prom/prom_core_tata/dev.csv.gz", 613, 70}};
    const char *shared = getenv("LDAR_SHARED");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; ++i) {
        char path[1000];
        struct table table;
        struct ldar_error error;
        snprintf(path, sizeof path, "%s/data/gue/%s", shared ? shared : ".", tables[i].path);
        if (access(path, R_OK)) {
            print_message("%s is not here\n", path);
            skip();
        }
        assert_ok(table_read(path, &closed_options, &table, &error), &error);
        assert_int_equal(table.count, tables[i].rows);
        assert_int_equal(table.longest, tables[i].length);
        assert_int_equal(table.class_sizes[0] + table.class_sizes[1], tables[i].rows);
        assert_true(table.class_sizes[0] > tables[i].rows / 3 && table.class_sizes[1] > tables[i].rows / 3);
        table_free(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),          cmocka_unit_test(test_many_rows),     cmocka_unit_test(test_values),
        cmocka_unit_test(test_given_classes),  cmocka_unit_test(test_refusals),      cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_line),      cmocka_unit_test(test_class_folders), cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_standard_input), cmocka_unit_test(test_cuts),          cmocka_unit_test(test_published),
    };
    return cmocka_run_group_tests_name("formats.table", tests, folder_make, folder_remove);
}
