//! Decisions and errors in words.

/// Makes enums of what can be told, in which each thing stands once: what it is, what it carries,
/// in brackets where the rule behind it is written (a section of the Raft paper, "§…", or of the
/// dissertation), and the words for it, which may depend on what it carries. Errors have their
/// trait behind a colon.
macro_rules! described_enum {
    ($($(#[$meta:meta])* pub enum $name:ident $(: $error:path)? {$(
        $(#[$doc:meta])*
        $variant:ident
        $(($value:ident: $value_type:ty))?
        $({$($(#[$field_doc:meta])* $field:ident: $field_type:ty,)+})?
        $([$source:expr])? =>
        $(if ($($case:tt)+) $case_words:literal $(, $case_part:expr)*; else)*
        $words:literal $(, $part:expr)*;
    )+})+) => {$(
        $(#[$meta])*
        pub enum $name {$(
            $(#[$doc])*
            $variant $(($value_type))? $({$($(#[$field_doc])* $field: $field_type,)+})?,
        )+}

        impl $name {
            /// Tells where the rule is written, if there is one, and the words.
            fn tell<T>(&self, tell: impl FnOnce(&'static str, core::fmt::Arguments<'_>) -> T) -> T {
                match self {$(
                    Self::$variant $(($value))? $({$($field),+})? => {
                        let source = [$($source,)? ""][0];
                        $(if $($case)+ {
                            return tell(source, format_args!($case_words $(, $case_part)*));
                        })*
                        tell(source, format_args!($words $(, $part)*))
                    }
                )+}
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.tell(|_, words| f.write_fmt(words))
            }
        }

        $(impl $error for $name {})?
    )+};
}

/// Returns an error unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $error:expr $(,)?) => {
        if !$condition {
            return Err($error);
        }
    };
}

pub(crate) use {described_enum, ensure};
