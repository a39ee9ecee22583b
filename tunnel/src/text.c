#include "internal.h"

struct l2t_text l2t_text_begin(char *to, size_t room)
{
    to[0] = '\0';
    return (struct l2t_text){.to = to, .room = room, .used = 0};
}

static void add_char(struct l2t_text *text, char what)
{
    if (text->used + 1 >= text->room)
        return;
    text->to[text->used++] = what;
    text->to[text->used] = '\0';
}

void l2t_text_add(struct l2t_text *text, const char *what)
{
    for (; *what != '\0'; what++)
        add_char(text, *what);
}

void l2t_text_decimal(struct l2t_text *text, uint64_t value)
{
    char digits[20]; /* 2^64 has 20 */
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count != 0)
        add_char(text, digits[--count]);
}

void l2t_text_hex8(struct l2t_text *text, uint8_t value)
{
    static const char digit[] = "0123456789abcdef";

    add_char(text, digit[value >> 4]);
    add_char(text, digit[value & 15]);
}
