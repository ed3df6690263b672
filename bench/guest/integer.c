// Plain integer code, as a compiler makes it: the workloads that a guest's own code resembles most.
#include "guest.h"

enum { random_seed = 0x2545f491 };

// --- A linked list in scattered order, reversed and summed
// -------------------------------------------------------

struct node {
    struct node* next;
    word value;
};

uint64_t list_round(void) {
    enum { nodes = 2048, passes = 160 };
    struct node* const pool = (struct node*)ARENA_ADDRESS;
    struct node* head = 0;
    for (unsigned i = 0; i < nodes; ++i) {
        struct node* const node = &pool[i * 797u % nodes];  // 797 is odd: every node once
        node->value = i * 2654435761u;
        node->next = head;
        head = node;
    }
    word sum = 0;
    for (unsigned pass = 0; pass < passes; ++pass) {
        struct node* reversed = 0;
        while (head != 0) {
            struct node* const next = head->next;
            head->next = reversed;
            reversed = head;
            head = next;
        }
        head = reversed;
        for (const struct node* node = head; node != 0; node = node->next) sum = sum * 3 + node->value;
    }
    return sum;
}

// --- Matrix multiplication
// ---------------------------------------------------------------------------------------

uint64_t matrix_round(void) {
    enum { size = 40, passes = 5 };
    typedef int32_t matrix[size][size];
    matrix* const left = (matrix*)ARENA_ADDRESS;
    matrix* const right = left + 1;
    matrix* const product = left + 2;
    uint32_t random = random_seed;
    for (unsigned row = 0; row < size; ++row)
        for (unsigned column = 0; column < size; ++column) {
            (*left)[row][column] = (int32_t)(next_random(&random) >> 20);
            (*right)[row][column] = (int32_t)(next_random(&random) >> 20);
        }
    uint64_t sum = 0;
    for (unsigned pass = 0; pass < passes; ++pass) {
        for (unsigned row = 0; row < size; ++row)
            for (unsigned column = 0; column < size; ++column) {
                int32_t cell = 0;
                for (unsigned i = 0; i < size; ++i) cell += (*left)[row][i] * (*right)[i][column];
                (*product)[row][column] = cell & 0xffff;
            }
        for (unsigned row = 0; row < size; ++row)
            for (unsigned column = 0; column < size; ++column) {
                sum = mix(sum, (uint32_t)(*product)[row][column]);
                (*left)[row][column] ^= (*product)[row][column] & 0xfff;
            }
    }
    return sum;
}

// --- A state machine over text
// -----------------------------------------------------------------------------------

enum { text_size = 16384 };

static uint8_t* make_text(void) {
    static const char alphabet[] = "abc xyz 0129 \n\"+-(){};= _t/e";
    uint8_t* const text = (uint8_t*)ARENA_ADDRESS;
    uint32_t random = random_seed;
    for (unsigned i = 0; i < text_size; ++i)
        text[i] = (uint8_t)alphabet[next_random(&random) % (sizeof alphabet - 1)];
    return text;
}

uint64_t automaton_round(void) {
    enum { passes = 12 };
    enum state { outside, in_word, in_number, in_text, after_slash, in_comment };
    const uint8_t* const text = make_text();
    uint32_t words = 0, numbers = 0, texts = 0, comments = 0, lines = 0, depth = 0, other = 0;
    for (unsigned pass = 0; pass < passes; ++pass) {
        enum state state = outside;
        for (unsigned i = 0; i < text_size; ++i) {
            const uint8_t c = text[i];
            lines += c == '\n';
            switch (state) {
                case in_comment:
                    if (c == '\n') state = outside;
                    continue;
                case in_text:
                    if (c == '"' || c == '\n') state = outside;
                    continue;
                case in_word:
                    if ((c >= 'a' && c <= 'z') || c == '_' || (c >= '0' && c <= '9')) continue;
                    break;
                case in_number:
                    if (c >= '0' && c <= '9') continue;
                    break;
                case after_slash:
                    if (c == '/') {
                        ++comments;
                        state = in_comment;
                        continue;
                    }
                    ++other;
                    break;
                case outside:
                    break;
            }
            state = outside;
            if ((c >= 'a' && c <= 'z') || c == '_') {
                ++words;
                state = in_word;
            } else if (c >= '0' && c <= '9') {
                ++numbers;
                state = in_number;
            } else if (c == '"') {
                ++texts;
                state = in_text;
            } else if (c == '/') {
                state = after_slash;
            } else if (c == '{' || c == '(') {
                ++depth;
            } else if (c == '}' || c == ')') {
                depth -= depth != 0;
            } else {
                other += c > ' ';
            }
        }
    }
    return mix(mix(mix(words, numbers), mix(texts, comments)), mix(mix(lines, depth), other));
}

// --- CRC-32 by table, and FNV-1a
// ---------------------------------------------------------------------------------

uint64_t checksum_round(void) {
    enum { passes = 9 };
    const uint8_t* const text = make_text();
    uint32_t table[256];
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (0xedb88320 & -(value & 1));
        table[i] = value;
    }
    uint32_t crc = 0xffffffff, hash = 0x811c9dc5;
    for (unsigned pass = 0; pass < passes; ++pass) {
        for (unsigned i = 0; i < text_size; ++i) crc = crc >> 8 ^ table[(crc ^ text[i]) & 0xff];
        for (unsigned i = 0; i < text_size; ++i) hash = (hash ^ text[i]) * 0x01000193;
    }
    return (uint64_t)crc << 32 | hash;
}

// --- The sieve of Eratosthenes
// -----------------------------------------------------------------------------------

uint64_t sieve_round(void) {
    enum { limit = 200000, passes = 2 };
    uint8_t* const composite = (uint8_t*)ARENA_ADDRESS;
    uint64_t sum = 0;
    for (unsigned pass = 0; pass < passes; ++pass) {
        for (unsigned i = 0; i < limit; ++i) composite[i] = 0;
        for (unsigned i = 2; i * i < limit; ++i)
            if (!composite[i])
                for (unsigned multiple = i * i; multiple < limit; multiple += i) composite[multiple] = 1;
        for (unsigned i = 2; i < limit; ++i)
            if (!composite[i]) sum += i;
    }
    return sum;
}

// --- A byte-code interpreter
// -------------------------------------------------------------------------------------

uint64_t bytecode_round(void) {
    enum { push, load, store, add, subtract, multiply, and_, shift_right, jump, jump_if_not_zero, stop };
    enum { starts = 600 };
    // Counts, in variable 1, the steps of the Collatz sequence that starts with variable 0.
    static const uint8_t program[] = {
        load, 0,    push,        1,     subtract, jump_if_not_zero,
        8,    stop,  //  0: while n != 1
        load, 1,    push,        1,     add,      store,
        1,  //  8:   ++steps
        load, 0,    push,        1,     and_,     jump_if_not_zero,
        29,  // 15:   if n is even
        load, 0,    shift_right, store, 0,        jump,
        0,  // 22:     n /= 2
        load, 0,    push,        3,     multiply, push,
        1,    add,  store,       0,     jump,     0,  // 29:   else n = 3n + 1
    };
    uint64_t sum = 0;
    for (uint32_t start = 2; start < 2 + starts; ++start) {
        word variables[2] = {start, 0};
        word stack[8];
        unsigned at = 0, depth = 0;
        for (;;) {
            switch (program[at++]) {
                case push:
                    stack[depth++] = program[at++];
                    continue;
                case load:
                    stack[depth++] = variables[program[at++]];
                    continue;
                case store:
                    variables[program[at++]] = stack[--depth];
                    continue;
                case add:
                    --depth, stack[depth - 1] += stack[depth];
                    continue;
                case subtract:
                    --depth, stack[depth - 1] -= stack[depth];
                    continue;
                case multiply:
                    --depth, stack[depth - 1] *= stack[depth];
                    continue;
                case and_:
                    --depth, stack[depth - 1] &= stack[depth];
                    continue;
                case shift_right:
                    stack[depth - 1] >>= 1;
                    continue;
                case jump:
                    at = program[at];
                    continue;
                case jump_if_not_zero:
                    at = stack[--depth] != 0 ? program[at] : at + 1;
                    continue;
                default:
                    break;
            }
            break;
        }
        sum = mix(sum, variables[1]);
    }
    return sum;
}

uint64_t integer_round(void) {
    uint64_t sum = list_round();
    sum = mix(sum, matrix_round());
    sum = mix(sum, automaton_round());
    sum = mix(sum, checksum_round());
    sum = mix(sum, sieve_round());
    return mix(sum, bytecode_round());
}
