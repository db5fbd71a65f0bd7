#pragma once

// Which sanitizer a file is compiled with: GCC defines a macro, Clang answers a question.

#if defined(__SANITIZE_ADDRESS__)
#define KOINE_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KOINE_ADDRESS_SANITIZER 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define KOINE_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KOINE_THREAD_SANITIZER 1
#endif
#endif
